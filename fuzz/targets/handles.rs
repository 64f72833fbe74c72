//! Handles: nothing but what was sealed opens. The input changes a sealed one,
//! or stands for one itself.

#![no_main]
#![allow(missing_docs)]

use filters::handle::{Binding, Purpose};
use libfuzzer_sys::fuzz_target;

/// Bytes that fit into a handle in any JSON.
const MOST: usize = 64;

fuzz_target!(|input: (&str, Vec<(u16, u8)>)| {
    let (text, changes) = input;
    let binding = Binding { purpose: Purpose::Lease, agent: &fuzz::IDENTITY.agent };
    // The fuzzer learns what was sealed below, which is for another purpose.
    let elsewhere = Binding { purpose: Purpose::Wrapped, ..binding };
    assert!(fuzz::KEYRING.open::<String>(text, elsewhere).is_err());
    // What is too long to be a handle's is never read.
    let Ok(sealed) = fuzz::KEYRING.seal(&text, binding) else { return };
    if text.len() > MOST {
        return;
    }
    let mut bytes = sealed.clone().into_bytes();
    for (at, change) in changes {
        let at = usize::from(at) % bytes.len();
        if let Some(byte) = bytes.get_mut(at) {
            *byte ^= change;
        }
    }
    let Ok(changed) = String::from_utf8(bytes) else { return };
    let opened = fuzz::KEYRING.open::<String>(&changed, binding);
    assert_eq!(opened.ok().as_deref(), (changed == sealed).then_some(text));
});
