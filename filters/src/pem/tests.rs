//! Texts that are read, and texts that are refused as a whole.

use proptest::prelude::*;

use super::*;

/// One block of `label` over `der`, with a line ending of the test's.
fn block(label: &str, der: &[u8], ending: &str) -> String {
    encode(label, der).replace('\n', ending)
}

fn certificate(number: u8) -> Vec<u8> {
    // Two lines of base64, as long as no real one.
    vec![number; 60]
}

/// Two certificates, with `between` in place of the newline between them.
fn joined(between: &str) -> String {
    let [one, two] = [1, 2].map(|number| block("CERTIFICATE", &certificate(number), "\n"));
    format!("{}{between}{two}", one.trim_end())
}

fn both() -> Vec<Vec<u8>> {
    vec![certificate(1), certificate(2)]
}

#[test]
fn what_is_beyond_doubt_is_read() {
    let plain = joined("\n");
    let indented: String = plain.lines().map(|line| format!("  \t{line}\n")).collect();
    let one_line = plain.replace('\n', "");
    for text in [
        &plain,
        &plain.replace('\n', "\r\n"),
        &plain.replace('\n', "\r"),
        &plain.replace('\n', " \n"),
        &indented,
        &one_line,
        &joined(""),
        &joined(" "),
        &joined("\u{feff}"),
        &joined("\n\u{feff}"),
        &joined("\n\nsubject=CN = root CA\nissuer=/CN=a-b--c\n# until 2030: 100 %, -- as agreed\n"),
        &format!("\u{feff}{plain}"),
        &format!("Certificate:\n    Data:\n        Version: 3\n{plain}"),
        &plain.replace("CERTIFICATE", "X509 CERTIFICATE"),
        plain.trim_end(),
    ]
    .map(|text: &str| text.to_owned())
    {
        assert_eq!(certificates(text.as_bytes()), Ok(both()), "{text:?}");
    }
    for label in ["X509 CRL", "CRL"] {
        assert_eq!(revocation_lists(block(label, &[1], "\n").as_bytes()), Ok(vec![vec![1]]));
    }
    // Bytes that are no UTF-8 may stand around the blocks.
    let latin = [b"friendlyName: Z\xFCrich\n", plain.as_bytes()].concat();
    assert_eq!(certificates(&latin), Ok(both()));
}

#[test]
fn what_looks_like_a_block_and_is_none_has_the_text_refused() {
    let (plain, second) = (joined("\n"), 5);
    let damage = |from: &str, to: &str| {
        let (head, tail) = plain.split_at(plain.len() / 2);
        format!("{head}{}", tail.replacen(from, to, 1))
    };
    for (text, line, what) in [
        (damage("-----BEGIN", "----BEGIN"), second, "looks like"),
        (damage("-----BEGIN", "------BEGIN"), second, "looks like"),
        (damage("-----BEGIN", "--BEGIN"), second, "looks like"),
        (damage("-----BEGIN", "\u{2014}\u{2013}BEGIN"), second, "looks like"),
        (damage("-----BEGIN ", "----- BEGIN "), second, "looks like"),
        (damage("-----BEGIN ", "-----BEGIN"), second, "looks like"),
        (damage("-----BEGIN", "CA: -----BEGIN"), second, "looks like"),
        (damage("BEGIN CERTIFICATE-----", "BEGIN CERTIFICATE----"), second, "looks like"),
        (damage("BEGIN CERTIFICATE-----", "BEGIN CERTIFICATE------"), second, "looks like"),
        (damage("BEGIN CERTIFICATE", "BEGIN CERTIFICAT"), second, "of a kind that is not read"),
        (damage("BEGIN CERTIFICATE", "BEGIN PKCS7"), second, "of a kind that is not read"),
        (damage("BEGIN CERTIFICATE", "BEGIN TRUSTED CERTIFICATE"), second + 3, "of another kind"),
        (damage("END CERTIFICATE", "END X509 CRL"), second + 3, "of another kind"),
        (damage("-----END", "----END"), second + 3, "looks like"),
        (damage("-----END CERTIFICATE-----", ""), second, "no end"),
        (damage("-----BEGIN CERTIFICATE-----\n", ""), second + 2, "no beginning"),
        (damage("END CERTIFICATE-----", "END CERTIFICATE-----x"), second + 3, "looks like"),
        (joined("\n").replacen("-----END CERTIFICATE-----", "", 1), 1, "no end"),
        (plain.replacen("-----\n-----BEGIN", "-----BEGIN", 1), 4, "looks like"),
        (plain.replacen("AQEB", "AQ!B", 1), 1, "not base64"),
        (plain.replacen("AQEB", "AQB", 1), 1, "not base64"),
        (damage("-----BEGIN CERTIFICATE-----\n", "-----BEGIN CERTIFICATE-----\nx: y\n\n"), second, "headers"),
        ("-----BEGIN CERTIFICATE-----\n-----END CERTIFICATE-----\n".into(), 1, "holds nothing"),
        (format!("{plain}{}", "\0"), 9, "zero byte"),
    ] {
        let fault = certificates(text.as_bytes()).expect_err(&text);
        assert_eq!(fault.line, Some(line), "{fault}: {text}");
        assert!(fault.what.replace("something else than", "not").contains(what), "{fault}: {text}");
        assert!(chain(text.as_bytes()).is_err() && private_key(text.as_bytes()).is_err(), "{text}");
    }
    let wide: Vec<u8> = plain.bytes().flat_map(|byte| [byte, 0]).collect();
    assert!(certificates(&wide).is_err_and(|fault| fault.what.contains("UTF-16")));
    assert!(certificates(&[plain.as_bytes(), &wide].concat()).is_err());
}

#[test]
fn each_file_holds_what_belongs_there() {
    let text = |label| block(label, &[1], "\n");
    let refused = |found: Result<Vec<Vec<u8>>, Fault>| found.unwrap_err().what;
    let both = format!("{}{}", text("CERTIFICATE"), text("X509 CRL"));
    assert!(refused(certificates(both.as_bytes())).contains("a revocation list, which does not belong"));
    assert!(refused(revocation_lists(both.as_bytes())).contains("a certificate, which does not belong"));
    let trusted = text("TRUSTED CERTIFICATE");
    assert!(refused(certificates(trusted.as_bytes())).contains("OpenSSL"));
    assert!(refused(chain(trusted.as_bytes())).contains("OpenSSL"));
    for nothing in ["", "CA\n"] {
        assert_eq!(refused(certificates(nothing.as_bytes())), "holds no certificate in PEM");
        assert_eq!(certificates(nothing.as_bytes()).unwrap_err().line, None);
    }
}

#[test]
fn a_key_is_one_and_in_the_clear() {
    let text = |label| block(label, &[1], "\n");
    for (label, kind) in
        [("PRIVATE KEY", Kind::Pkcs8Key), ("RSA PRIVATE KEY", Kind::Pkcs1Key), ("EC PRIVATE KEY", Kind::Sec1Key)]
    {
        let beside = format!("{}{}{}", text("EC PARAMETERS"), text(label), text("CERTIFICATE"));
        let key = private_key(beside.as_bytes()).unwrap();
        assert_eq!((key.kind, &**key.der), (kind, &[1][..]));
        assert_eq!(format!("{key:?}"), format!("[redacted {kind:?}]"));
        assert_eq!(chain(beside.as_bytes()), Ok(vec![vec![1]]));
        assert!(certificates(beside.as_bytes()).is_err());
    }
    let legacy = text("RSA PRIVATE KEY").replacen("-----\n", "-----\nProc-Type: 4,ENCRYPTED\nDEK-Info: A,B\n\n", 1);
    for encrypted in [text("ENCRYPTED PRIVATE KEY"), legacy] {
        let fault = private_key(encrypted.as_bytes()).unwrap_err();
        assert!(fault.what.contains("is encrypted") && fault.line == Some(1), "{fault}");
        let beside = format!("{}{encrypted}", text("CERTIFICATE"));
        assert_eq!(chain(beside.as_bytes()), Ok(vec![vec![1]]));
    }
    let two = format!("{}{}", text("PRIVATE KEY"), text("EC PRIVATE KEY"));
    assert!(private_key(two.as_bytes()).unwrap_err().what.contains("more than one"));
    assert!(private_key(text("CERTIFICATE").as_bytes()).unwrap_err().what.contains("no private key"));
    assert!(private_key(text("OPENSSH PRIVATE KEY").as_bytes()).unwrap_err().what.contains("kind that is not read"));
}

/// Whatever happens to one byte, no block is lost in silence.
#[test]
fn no_single_damage_loses_a_block() {
    let text = joined("\n").into_bytes();
    for at in 0..text.len() {
        let (head, tail) = text.split_at(at);
        let (byte, rest) = tail.split_first().unwrap();
        for damaged in [
            [head, rest].concat(),
            [head, &[*byte, *byte][..], rest].concat(),
            [head, b"-", rest].concat(),
            [head, b"\n", rest].concat(),
            [head, b"\xA0", rest].concat(),
        ] {
            match certificates(&damaged) {
                Ok(found) => assert!(found.len() == 2, "{}", String::from_utf8_lossy(&damaged)),
                Err(fault) => assert!(fault.line.is_some(), "{fault}"),
            }
        }
    }
}

/// The number of times that the word stands after two dashes.
fn beginnings(text: &[u8]) -> usize {
    text.windows(7).filter(|part| *part == b"--BEGIN").count()
}

proptest! {
    #[test]
    fn what_was_written_is_read(
        ders in prop::collection::vec(prop::collection::vec(any::<u8>(), 1..200), 1..5),
        ending in prop::sample::select(vec!["\n", "\r\n", "\r", "\n  ", ""]),
    ) {
        let text: String = ders.iter().map(|der| block("CERTIFICATE", der, ending)).collect();
        // Base64 that begins with one of the words is of no certificate.
        prop_assume!(!text.contains("-----BEGIN CERTIFICATE-----END") && !text.contains("-----BEGIN CERTIFICATE-----BEGIN"));
        prop_assert_eq!(certificates(text.as_bytes()), Ok(ders));
    }

    #[test]
    fn every_beginning_is_a_block_or_the_text_is_refused(
        parts in prop::collection::vec(
            prop::sample::select(vec![
                "-----BEGIN CERTIFICATE-----", "-----END CERTIFICATE-----", "-----BEGIN CRL-----", "-----END CRL-----",
                "-----", "----", "--BEGIN", "BEGIN ", "END ", "MIIB", "\n", "\r\n", " ", "\u{feff}", "x", ":",
            ]),
            0..24,
        ),
    ) {
        let text = parts.concat();
        for found in [certificates(text.as_bytes()), chain(text.as_bytes()), revocation_lists(text.as_bytes())].into_iter().flatten() {
            prop_assert_eq!(found.len(), beginnings(text.as_bytes()), "{:?}", text);
        }
    }

    #[test]
    fn nothing_panics(text in prop::collection::vec(any::<u8>(), 0..300)) {
        let _ = (certificates(&text), private_key(&text).map(|_| ()), fault(&text, text.len() + 1, ""));
    }
}
