//! MCP bodies, down to the operations they call. A first line without a brace
//! or bracket is the header `MCP-Protocol-Version`.

#![no_main]
#![allow(missing_docs)]

use filters::mcp::{self, Body, Headers, Request, Understood, Vault};
use libfuzzer_sys::fuzz_target;

fuzz_target!(|input: &[u8]| {
    let line = input.split(|byte| *byte == b'\n').next().unwrap_or_default();
    let version = std::str::from_utf8(line).ok().filter(|line| !line.contains(['{', '[']));
    let body = version.and_then(|version| input.get(version.len()..)).unwrap_or(input);
    let headers = Headers { version, ..Headers::default() };
    let messages = match mcp::read(body, &headers, 16) {
        Ok(Body::One(message)) => vec![message],
        Ok(Body::Batch(messages)) => messages,
        Err(_) => return,
    };
    for message in &messages {
        let (_, Ok(Understood::Call(call))) = mcp::understand::<Vault>(message, &headers) else { continue };
        let _ = (call.input.answer(), call.input.elicits());
        let operation = match &call.request {
            Request::CallTool { kind, arguments } => kind.parse(arguments),
            Request::Complete(completing) => {
                let _ = completing.sought(&fuzz::IDENTITY.agent);
                continue;
            }
            Request::ReadResource { uri } => mcp::target(uri, &fuzz::IDENTITY.agent.id),
            _ => continue,
        };
        if let Ok(operation) = operation {
            fuzz::judge(operation);
        }
    }
});
