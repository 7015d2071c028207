use super::*;
use fondaco_codec::{List, Text};
use fondaco_crypto::{EntityId, SecretKey};
use fondaco_lcp::{
    Deposit, Refusal,
    classic::{Answer, Ask, AskBody, Fault},
};
use fondaco_units::{Amount, Duration, Scale, Timestamp};
use proptest::prelude::*;

const SCHEMA_NAMESPACE: &str = "http://www.w3.org/2001/XMLSchema";

fn cents() -> Scale {
    Scale::new(2).unwrap()
}

fn bob() -> EntityId {
    SecretKey::from_bytes(&[2; 32]).entity()
}

fn bob_hex() -> String {
    crate::hex(bob().as_bytes())
}

/// A body in an envelope with the usual declarations.
fn enveloped(body: &str) -> String {
    format!(
        r#"<s:Envelope xmlns:s="{ENVELOPE_NAMESPACE}" xmlns:x="{SCHEMA_NAMESPACE}" xmlns:i="{INSTANCE_NAMESPACE}" xmlns:e="{ENCODING_NAMESPACE}" xmlns:l="{LCP_NAMESPACE}"><s:Body>{body}</s:Body></s:Envelope>"#
    )
}

fn ask(text: &str) -> Result<Question, Refused> {
    read(text.as_bytes(), cents())
}

/// The fields of a good transfer, one of which a test replaces.
fn transfer_with(field: &str, value: &str) -> String {
    let bob = bob_hex();
    let fields = [
        ("recipient", bob.as_str()),
        ("amount", "100"),
        ("transactionId", "t"),
        ("messageCounter", "1"),
    ];
    let fields = fields.map(|(name, usual)| {
        let value = if name == field { value } else { usual };
        format!("<{name}>{value}</{name}>")
    });
    enveloped(&format!("<l:transfer>{}</l:transfer>", fields.concat()))
}

fn paid(question: &Question) -> (EntityId, u64, &str, u32) {
    match &question.ask.body {
        AskBody::Transfer { to, amount, order } => {
            (*to, amount.get(), order.as_str(), question.ask.counter)
        }
        AskBody::Query => panic!("{question:?}"),
    }
}

#[test]
fn the_form_of_2003_with_types() {
    let text = enveloped(&format!(
        r#"<l:transfer s:encodingStyle="{ENCODING_NAMESPACE}"><recipient i:type="x:string">{}</recipient><amount i:type="x:double">100.0</amount><transactionId i:type="x:string">bob1234567890</transactionId><messageCounter i:type="x:int">3398</messageCounter></l:transfer>"#,
        bob_hex()
    ));
    let question = ask(&text).unwrap();
    assert_eq!((question.form, question.operation), (Form::Encoded, Operation::Transfer));
    assert_eq!(paid(&question), (bob(), 10_000, "bob1234567890", 3398));
    let text =
        enveloped("<l:query><in0 i:type='x:long'>5000</in0><in1 i:type='x:int'>0</in1></l:query>");
    let question = ask(&text).unwrap();
    assert_eq!(question.ask, Ask { counter: 0, body: AskBody::Query });
    assert_eq!(question.wait, Duration::from_seconds(5));
    assert_eq!(question.operation, Operation::Query);
}

#[test]
fn the_literal_form() {
    let text = enveloped(&format!(
        "<transfer xmlns='{LCP_NAMESPACE}'><recipient>{}</recipient><amount>1.5</amount><transactionId/><messageCounter>1</messageCounter></transfer>",
        bob_hex().to_uppercase()
    ));
    let question = ask(&text).unwrap();
    assert_eq!(question.form, Form::Literal);
    assert_eq!(paid(&question), (bob(), 150, "", 1));
    // There an amount is an `xsd:decimal`, which has no exponent; in the encoded form it is an `xsd:double`.
    let no_decimal = Refused::BadAmount { why: fondaco_units::ParseAmountError::NotDigits };
    assert_eq!(ask(&text.replace(">1.5<", ">1e3<")), Err(no_decimal));
}

#[test]
fn the_names_of_paper_and_draft() {
    let table = [
        ("transfer", Operation::Transfer),
        ("transferRequest", Operation::Transfer),
        ("transferFunds", Operation::TransferFunds),
        ("transferFundsRequest", Operation::TransferFunds),
    ];
    for (name, operation) in table {
        for name in [name.to_owned(), format!("l:{name}")] {
            let text = transfer_with("", "").replace("l:transfer>", &format!("{name}>"));
            assert_eq!(ask(&text).map(|it| it.operation), Ok(operation), "{name}");
        }
    }
    for (name, wait, counter, operation) in [
        ("query", "in0", "in1", Operation::Query),
        ("queryRequest", "maxWaitMilliseconds", "messageCounter", Operation::Query),
        ("getDeposits", "millisecondsWait", "messageCounter", Operation::GetDeposits),
        ("getDepositsRequest", "in0", "in1", Operation::GetDeposits),
    ] {
        let text =
            enveloped(&format!("<l:{name}><{counter}>7</{counter}><{wait}>1</{wait}></l:{name}>"));
        let question = ask(&text).unwrap();
        assert_eq!((question.operation, question.ask.counter), (operation, 7), "{name}");
        assert_eq!(question.wait, Duration::from_milliseconds(1));
    }
}

#[test]
fn values_beside_the_call_as_axis_sends_them() {
    let text = enveloped(
        r##"<l:query s:encodingStyle="http://schemas.xmlsoap.org/soap/encoding/"><in0 href="#id0"/><in1 href="#id1"/></l:query><multiRef id="id1" e:root="0" i:type="x:int">4</multiRef><multiRef id="id0" e:root="0" i:type="x:long">250</multiRef>"##,
    );
    let question = ask(&text).unwrap();
    assert_eq!((question.ask.counter, question.wait.milliseconds()), (4, 250));
    let bad = |id: &str| Err(Refused::BadReference { id: id.to_owned() });
    let table = [
        ("<in0 href='#id9'/>", "", bad("#id9")),
        ("<in0 href='id0'/>", "<m id='id0'>1</m>", bad("id0")),
        ("<in0 href='http://x/'/>", "", bad("http://x/")),
        ("<in0 href='#a'>5</in0>", "<m id='a'>1</m>", bad("#a")),
        ("<in0 href='#a'/>", "<m id='a' href='#a'/>", bad("#a")),
        ("<in0 href='#a'/>", "<m id='a' href='#b'/><m id='b'>1</m>", bad("#a")),
        ("<in0 href='#a'/>", "<m id='a'>1</m><m id='a'>2</m>", bad("a")),
        (
            "<in0 href='#a'/>",
            "<m id='a'><b/></m>",
            Err(Refused::NotSimple { name: "in0".to_owned() }),
        ),
        ("<in0>1</in0>", "<l:query/>", Err(Refused::NotOneCall)),
    ];
    for (field, beside, refused) in table {
        let text = enveloped(&format!("<l:query>{field}<in1>0</in1></l:query>{beside}"));
        assert_eq!(ask(&text), refused, "{field} {beside}");
    }
}

#[test]
fn what_is_refused_of_the_xml() {
    let good = enveloped("<l:query><in0>0</in0><in1>0</in1></l:query>");
    assert!(ask(&good).is_ok());
    assert!(
        ask(&format!("\u{feff}<?xml version='1.0' encoding='utf-8'?>\n{good}\n<!-- end -->"))
            .is_ok()
    );
    let forbidden = |what| Err(Refused::Forbidden { what });
    let deep = "<d>".repeat(20) + &"</d>".repeat(20);
    let wide = "<d/>".repeat(300);
    let per_element: String = (0..65).map(|it| format!(" a{it}=''")).collect();
    let per_document =
        format!("<d{}/>", (0..60).map(|it| format!(" a{it}=''")).collect::<String>()).repeat(5);
    let put = |inside: &str| good.replace("<in0>", &format!("{inside}<in0>"));
    let table: Vec<(String, Result<Question, Refused>)> = vec![
        (String::new(), Err(Refused::Malformed)),
        ("hello".to_owned(), Err(Refused::Malformed)),
        (good[..good.len() - 5].to_owned(), Err(Refused::Malformed)),
        (format!("{good}{good}"), Err(Refused::Malformed)),
        (format!("{good}x"), Err(Refused::Malformed)),
        (format!("x{good}"), Err(Refused::Malformed)),
        (format!("<?xml version='1.1'?>{good}"), Err(Refused::Malformed)),
        (format!("{good}<?xml version='1.0'?>"), Err(Refused::Malformed)),
        (format!("<?xml version='1.0' encoding='UTF-16'?>{good}"), forbidden(Forbidden::Encoding)),
        (format!("<?xml version='1.0' encoding='latin1'?>{good}"), forbidden(Forbidden::Encoding)),
        (format!("<!DOCTYPE s>{good}"), forbidden(Forbidden::DocumentType)),
        (
            format!(
                "<!DOCTYPE s [<!ENTITY a 'aaaa'><!ENTITY b '&a;&a;'>]>{}",
                good.replace("<in0>0", "<in0>&b;")
            ),
            forbidden(Forbidden::DocumentType),
        ),
        (
            format!("<!DOCTYPE s SYSTEM 'file:///etc/passwd'>{good}"),
            forbidden(Forbidden::DocumentType),
        ),
        (good.replace("<in0>0", "<in0>&a;"), forbidden(Forbidden::Entity)),
        (good.replace("<in0>0", "<in0>&#0;"), Err(Refused::Malformed)),
        (good.replace("<in0>0", "<in0>&#1;"), Err(Refused::Malformed)),
        (good.replace("<in0>0", "<in0>&#xfffe;"), Err(Refused::Malformed)),
        (good.replace("<in0>0", "<in0>&#x110000;"), Err(Refused::Malformed)),
        (good.replace("<in0>0", "<in0>&#xd800;"), Err(Refused::Malformed)),
        (good.replace("<in0>0", "<in0>\u{1}"), forbidden(Forbidden::Character)),
        (good.replace("<in0>0", "<in0>\0"), forbidden(Forbidden::Character)),
        (put("<?php evil ?>"), forbidden(Forbidden::ProcessingInstruction)),
        (put(&deep), Err(Refused::TooDeep)),
        (put(&wide), Err(Refused::TooManyElements)),
        (put(&format!("<d{per_element}/>")), Err(Refused::TooManyAttributes)),
        (put(&per_document), Err(Refused::TooManyAttributes)),
        (put("<d a='1' a='2'/>"), Err(Refused::Malformed)),
        (
            put("<d l:a='1' k:a='2' xmlns:k='http://lightweightcurrency.org'/>"),
            Err(Refused::Malformed),
        ),
        (put("<d a='<'/>"), Err(Refused::Malformed)),
        (put("<d a='&a;'/>"), forbidden(Forbidden::Entity)),
        (put("<d a='&amp'/>"), Err(Refused::Malformed)),
        (put("<undeclared:d/>"), Err(Refused::Malformed)),
        (put("<d undeclared:a=''/>"), Err(Refused::Malformed)),
        (good.replace("</l:query>", "</l:other>"), Err(Refused::Malformed)),
        (good.replace("<in0>0", "<in0>0 & 1"), Err(Refused::Malformed)),
    ];
    for (text, refused) in table {
        let got = ask(&text);
        assert_eq!(got, refused, "{text}");
    }
    assert_eq!(read(b"\xff\xfe<\0", cents()), Err(Refused::NotUtf8));
    let refused = Err(Refused::TooLarge { bytes_max: REQUEST_BYTES_MAX });
    assert_eq!(read(&vec![b' '; REQUEST_BYTES_MAX + 1], cents()), refused);
    assert_eq!(read(&vec![b' '; REQUEST_BYTES_MAX], cents()), Err(Refused::Malformed));
}

#[test]
fn as_many_attributes_as_fit_are_refused_soon() {
    // 80,000 do not fit into a request at all; these do.
    let attributes: String = (0..7_000).map(|it| format!(" a{it}=''")).collect();
    let namespaces: String = (0..2_000).map(|it| format!(" xmlns:a{it}='u:{it}'")).collect();
    for many in [attributes, namespaces] {
        let text = enveloped(&format!("<l:query{many}/>"));
        assert!(text.len() <= REQUEST_BYTES_MAX);
        let got = ask(&text);
        assert!(matches!(got, Err(Refused::TooManyAttributes | Refused::Malformed)), "{got:?}");
    }
    let eighty_thousand: String = (0..80_000).map(|it| format!(" a{it}=''")).collect();
    let got = ask(&enveloped(&format!("<l:query{eighty_thousand}/>")));
    assert_eq!(got, Err(Refused::TooLarge { bytes_max: REQUEST_BYTES_MAX }));
}

#[test]
fn what_is_refused_of_the_envelope() {
    let query =
        "<l:query xmlns:l='http://lightweightcurrency.org'><in0>0</in0><in1>0</in1></l:query>";
    let with = |head: &str, body: &str| {
        format!("<s:Envelope xmlns:s='{ENVELOPE_NAMESPACE}'>{head}{body}</s:Envelope>")
    };
    let body = format!("<s:Body>{query}</s:Body>");
    let header = |attributes: &str| {
        with(
            &format!("<s:Header><h:mark xmlns:h='urn:h' {attributes}>x</h:mark></s:Header>"),
            &body,
        )
    };
    let understand = || Err(Refused::MustUnderstand { name: "mark".to_owned() });
    let soap_1_2 = "http://www.w3.org/2003/05/soap-envelope";
    let table = [
        (with("", &body), Ok(())),
        (with("<s:Header/>", &body), Ok(())),
        (header(""), Ok(())),
        (header("s:mustUnderstand='0'"), Ok(())),
        (header("s:mustUnderstand='1'"), understand()),
        (header("s:mustUnderstand='true'"), understand()),
        (header("mustUnderstand='1'"), Ok(())),
        (header("s:mustUnderstand='1' s:actor='urn:somebody'"), Ok(())),
        (
            header("s:mustUnderstand='1' s:actor='http://schemas.xmlsoap.org/soap/actor/next'"),
            understand(),
        ),
        (with("", "<s:Body/>"), Err(Refused::NotOneCall)),
        (with("", &format!("<s:Body>{query}{query}</s:Body>")), Err(Refused::NotOneCall)),
        (with("", &format!("{body}{body}")), Err(Refused::NotEnvelope)),
        (with("", &format!("{body}<trailer/>")), Err(Refused::NotEnvelope)),
        (with("text", &body), Err(Refused::NotEnvelope)),
        (with("", &format!("<s:Body>text{query}</s:Body>")), Err(Refused::NotEnvelope)),
        (with("", ""), Err(Refused::NotEnvelope)),
        (with("<s:Header/>", ""), Err(Refused::NotEnvelope)),
        (with(&body, "<s:Header/>"), Err(Refused::NotEnvelope)),
        (query.to_owned(), Err(Refused::NotEnvelope)),
        (with("", &body).replace(ENVELOPE_NAMESPACE, soap_1_2), Err(Refused::VersionMismatch)),
        (with("", &body).replace(ENVELOPE_NAMESPACE, "urn:x"), Err(Refused::VersionMismatch)),
    ];
    for (text, outcome) in table {
        assert_eq!(ask(&text).map(|_| ()), outcome, "{text}");
    }
}

#[test]
fn what_is_refused_of_a_transfer() {
    let long = "x".repeat(65);
    let why = fondaco_units::ParseAmountError::NotDigits;
    let short = &bob_hex()[2..];
    let table: [(&str, &str, Result<(), Refused>); 22] = [
        ("recipient", &bob_hex(), Ok(())),
        ("recipient", short, Err(Refused::BadRecipient)),
        ("recipient", "", Err(Refused::BadRecipient)),
        ("recipient", &"0".repeat(64), Err(Refused::BadRecipient)),
        ("recipient", &bob().to_string(), Err(Refused::BadRecipient)),
        ("amount", "1,5", Err(Refused::BadAmount { why })),
        ("amount", "", Err(Refused::BadAmount { why })),
        ("amount", "<!-- -->1", Err(Refused::NotSimple { name: "amount".to_owned() })),
        ("amount", "1<!-- -->0", Err(Refused::NotSimple { name: "amount".to_owned() })),
        ("amount", "<b>1</b>", Err(Refused::NotSimple { name: "amount".to_owned() })),
        ("amount", "<![CDATA[1]]>0", Ok(())),
        ("amount", "&#49;", Ok(())),
        ("transactionId", "&lt;a&gt;&#13;&amp;", Ok(())),
        ("transactionId", &long, Err(Refused::BadTransactionId)),
        ("messageCounter", "4294967295", Ok(())),
        ("messageCounter", "4294967296", Err(Refused::BadCounter)),
        ("messageCounter", "-1", Err(Refused::BadCounter)),
        ("messageCounter", "+1", Err(Refused::BadCounter)),
        ("messageCounter", "01", Err(Refused::BadCounter)),
        ("messageCounter", " 1", Err(Refused::BadCounter)),
        ("messageCounter", "1.0", Err(Refused::BadCounter)),
        ("messageCounter", "", Err(Refused::BadCounter)),
    ];
    for (field, value, outcome) in table {
        assert_eq!(ask(&transfer_with(field, value)).map(|_| ()), outcome, "{field} {value:?}");
    }
    let good = transfer_with("", "");
    for name in ["recipient", "amount", "transactionId", "messageCounter"] {
        let start = good.find(&format!("<{name}>")).unwrap();
        let end = good.find(&format!("</{name}>")).unwrap() + name.len() + 3;
        let field = &good[start..end];
        assert_eq!(ask(&good.replace(field, "")), Err(Refused::MissingField { name }));
        assert_eq!(
            ask(&good.replace(field, &field.repeat(2))),
            Err(Refused::RepeatedField { name })
        );
        let nil = format!("<{name} i:nil='true'/>");
        assert_eq!(ask(&good.replace(field, &nil)), Err(Refused::MissingField { name }));
    }
    let put = |inside: &str| ask(&good.replace("</l:transfer>", &format!("{inside}</l:transfer>")));
    let unknown = |name: &str| Err(Refused::UnknownField { name: name.to_owned() });
    assert_eq!(put("<fee>1</fee>"), unknown("fee"));
    assert_eq!(put("<o:userid xmlns:o='urn:other'/>"), unknown("userid"));
    assert_eq!(put("<userid>bob</userid>"), Err(Refused::UserUnsupported));
    assert!(put("<userid/>").is_ok());
    assert_eq!(put("text"), Err(Refused::NotSimple { name: "transfer".to_owned() }));
    let operation = |name: &str| Err(Refused::UnknownOperation { name: name.to_owned() });
    assert_eq!(ask(&enveloped("<l:mint/>")), operation("mint"));
    assert_eq!(ask(&enveloped("<x:transfer/>")), operation("transfer"));
}

#[test]
fn what_is_refused_of_a_query() {
    let table = [
        ("0", "0", Ok(0)),
        ("600000", "1", Ok(600_000)),
        ("600001", "1", Ok(600_000)),
        ("9223372036854775807", "1", Ok(600_000)),
        ("18446744073709551616", "1", Err(Refused::BadWait)),
        ("-1", "1", Err(Refused::BadWait)),
        ("1.5", "1", Err(Refused::BadWait)),
        ("", "1", Err(Refused::BadWait)),
        ("1", "x", Err(Refused::BadCounter)),
    ];
    for (wait, counter, outcome) in table {
        let text = enveloped(&format!("<l:query><in0>{wait}</in0><in1>{counter}</in1></l:query>"));
        assert_eq!(ask(&text).map(|it| it.wait.milliseconds()), outcome, "{wait} {counter}");
    }
    let twice = enveloped(
        "<l:query><in0>1</in0><millisecondsWait>1</millisecondsWait><in1>0</in1></l:query>",
    );
    assert_eq!(ask(&twice), Err(Refused::RepeatedField { name: "in0" }));
}

fn deposit(amount: u64, order: &str) -> Deposit {
    let (payer, at) = (Some(bob()), Timestamp::EPOCH);
    Deposit { number: 1, payer, amount: Amount::new(amount), order: Text::cut(order), at }
}

fn told(deposits: Vec<Deposit>) -> Answer {
    let deposits = List::new(deposits).unwrap();
    Answer::Told { deposits, fee: Amount::ZERO, balance: Amount::new(12_345) }
}

#[test]
fn answers_to_the_byte() {
    let head = concat!(
        r#"<?xml version="1.0" encoding="UTF-8"?>"#,
        "\n",
        r#"<soapenv:Envelope xmlns:soapenv="http://schemas.xmlsoap.org/soap/envelope/" xmlns:soapenc="http://schemas.xmlsoap.org/soap/encoding/" xmlns:xsd="http://www.w3.org/2001/XMLSchema" xmlns:xsi="http://www.w3.org/2001/XMLSchema-instance" xmlns:lcp="http://lightweightcurrency.org"><soapenv:Body>"#,
    );
    let paid = Answer::Paid { fee: Amount::new(120), balance: Amount::ZERO };
    let told = told(vec![deposit(10_000, "a<b&c\r\u{1}"), deposit(1, "")]);
    let table = [
        (
            &paid,
            Form::Encoded,
            Operation::Transfer,
            concat!(
                r#"<lcp:transferResponse soapenv:encodingStyle="http://schemas.xmlsoap.org/soap/encoding/">"#,
                r#"<result xsi:type="xsd:string">success</result><fee xsi:type="xsd:double">1.20</fee>"#,
                "</lcp:transferResponse>",
            ),
        ),
        (
            &paid,
            Form::Literal,
            Operation::TransferFunds,
            concat!(
                r#"<transferFundsResponse xmlns="http://lightweightcurrency.org">"#,
                "<result>success</result><fee>1.20</fee></transferFundsResponse>",
            ),
        ),
        (
            &told,
            Form::Encoded,
            Operation::Query,
            concat!(
                r#"<lcp:queryResponse soapenv:encodingStyle="http://schemas.xmlsoap.org/soap/encoding/">"#,
                r#"<queryReturn xsi:type="lcp:QueryResult">"#,
                r#"<deposits xsi:type="soapenc:Array" soapenc:arrayType="lcp:Transaction[2]">"#,
                r#"<item xsi:type="lcp:Transaction"><amount xsi:type="xsd:double">100.00</amount>"#,
                r#"<id xsi:type="xsd:string">a&lt;b&amp;c&#13;"#,
                "\u{fffd}",
                "</id></item>",
                r#"<item xsi:type="lcp:Transaction"><amount xsi:type="xsd:double">0.01</amount>"#,
                r#"<id xsi:type="xsd:string"></id></item></deposits>"#,
                r#"<fee xsi:type="xsd:double">0.00</fee><balance xsi:type="xsd:double">123.45</balance>"#,
                "</queryReturn></lcp:queryResponse>",
            ),
        ),
        (
            &told,
            Form::Literal,
            Operation::GetDeposits,
            concat!(
                r#"<getDepositsResponse xmlns="http://lightweightcurrency.org"><getDepositsReturn>"#,
                "<deposits><Transaction><amount>100.00</amount><id>a&lt;b&amp;c&#13;\u{fffd}</id></Transaction>",
                "<Transaction><amount>0.01</amount><id></id></Transaction></deposits>",
                "<fee>0.00</fee><balance>123.45</balance></getDepositsReturn></getDepositsResponse>",
            ),
        ),
    ];
    for (said, form, operation, body) in table {
        let (bytes, is_fault) = answer(said, form, operation, cents());
        assert!(!is_fault);
        let wanted = format!("{head}{body}</soapenv:Body></soapenv:Envelope>");
        assert_eq!(String::from_utf8(bytes).unwrap(), wanted);
    }
}

#[test]
fn a_fault_to_the_byte() {
    use fondaco_ledger::Refusal as Ledger;
    let refusal =
        Ledger::InsufficientFunds { available: Amount::new(5), wanted: Amount::new(10_120) };
    let fault = Fault::Refused { refusal: Refusal::Ledger { refusal } };
    let (bytes, is_fault) =
        answer(&Answer::Fault { fault }, Form::Encoded, Operation::Transfer, cents());
    assert!(is_fault);
    let wanted = concat!(
        r#"<?xml version="1.0" encoding="UTF-8"?>"#,
        "\n",
        r#"<soapenv:Envelope xmlns:soapenv="http://schemas.xmlsoap.org/soap/envelope/"><soapenv:Body><soapenv:Fault>"#,
        "<faultcode>soapenv:Client</faultcode>",
        "<faultstring>10120 units are wanted, fee included; 5 are available</faultstring>",
        r#"<detail><fault xmlns="http://lightweightcurrency.org/faults"><code>InsufficientFunds</code>"#,
        "<counterUsed>true</counterUsed><available>0.05</available><wanted>101.20</wanted></fault></detail>",
        "</soapenv:Fault></soapenv:Body></soapenv:Envelope>",
    );
    assert_eq!(String::from_utf8(bytes.clone()).unwrap(), wanted);
    let reply = read_reply(&bytes, cents()).unwrap();
    let Reply::Fault { code, counter_used, .. } = reply else { panic!("{reply:?}") };
    assert_eq!((code.as_str(), counter_used), ("InsufficientFunds", true));
}

#[test]
fn faults_and_their_codes() {
    use fondaco_ledger::Refusal as Ledger;
    let refused = |refusal| Fault::Refused { refusal };
    let ledger = |refusal| Fault::Refused { refusal: Refusal::Ledger { refusal } };
    let some = Amount::new(1);
    let table = [
        (Fault::Fenced, "Client", "Fenced", false),
        (Fault::OtherContent { counter: 1 }, "Client", "OtherContent", false),
        (Fault::StaleCounter { last: 9 }, "Client", "StaleCounter", false),
        (refused(Refusal::Halted), "Server", "Halted", false),
        (ledger(Ledger::Halted), "Server", "Halted", false),
        (refused(Refusal::NoSpace), "Server", "NoSpace", false),
        (refused(Refusal::Unavailable), "Server", "Unavailable", false),
        (refused(Refusal::Rotated { to: bob() }), "Client", "KeyRotated", false),
        (
            refused(Refusal::DepositsFull { payee: bob(), deposits_max: 1 }),
            "Client",
            "DepositsFull",
            true,
        ),
        (ledger(Ledger::ZeroAmount), "Client", "ZeroAmount", true),
        (ledger(Ledger::SelfTransfer { holder: bob() }), "Client", "SelfTransfer", true),
        (
            ledger(Ledger::InsufficientFunds { available: some, wanted: some }),
            "Client",
            "InsufficientFunds",
            true,
        ),
        (
            ledger(Ledger::UnderReserve { payee: bob(), reserve: some }),
            "Client",
            "UnderReserve",
            true,
        ),
        (
            ledger(Ledger::OverLimit { payee: bob(), balance_max: some }),
            "Client",
            "OverLimit",
            true,
        ),
        (ledger(Ledger::BooksFull { accounts_max: 1 }), "Client", "BooksFull", true),
        (refused(Refusal::BadRotation), "Client", "Refused", true),
    ];
    for (why, class, code, used) in table {
        let text = String::from_utf8(fault(&why, cents())).unwrap();
        assert!(text.contains(&format!("<faultcode>soapenv:{class}</faultcode>")), "{text}");
        assert!(text.contains(&format!("<code>{code}</code>")), "{text}");
        assert!(text.contains(&format!("<counterUsed>{used}</counterUsed>")), "{text}");
        assert!(matches!(read_reply(text.as_bytes(), cents()), Ok(Reply::Fault { .. })), "{text}");
    }
    for refused in [
        Refused::Malformed,
        Refused::Busy,
        Refused::Unavailable,
        Refused::MissingField { name: "amount" },
        Refused::UnknownField { name: "<&".to_owned() },
    ] {
        let bytes = refused.envelope();
        let Ok(Reply::Fault { code, counter_used: false, message }) = read_reply(&bytes, cents())
        else {
            panic!("{refused:?}")
        };
        assert_eq!((code.as_str(), message), (refused.code(), refused.to_string()));
    }
}

/// The codes that a part of the page names, with the rest of each row.
fn codes_of(page: &str) -> Vec<(String, String)> {
    let rows = page.lines().filter_map(|line| line.strip_prefix("| `"));
    let named = rows.flat_map(|row| {
        let (names, rest) = row.split_once(" | ").unwrap();
        let names = names.split(", ").map(|name| name.trim_matches('`').to_owned());
        names.map(|name| (name, rest.to_owned())).collect::<Vec<_>>()
    });
    named.collect()
}

/// The page names every code that a fault can have, and no other; and who is at fault, and whether the counter is used.
#[test]
fn the_page_has_the_codes_of_the_code() {
    use std::collections::BTreeSet;
    let page = include_str!("../../../../docs/formats/lcp2003.md");
    let (_, faults) = page.split_once("## Faults").unwrap();
    let (faults, _) = faults.split_once("## Surcharge").unwrap();
    let (of_books, of_messages) = faults.split_once("Of the message;").unwrap();
    let named: BTreeSet<String> = codes_of(faults).into_iter().map(|(code, _)| code).collect();

    // The names in the code: texts that begin with a great letter where codes are given.
    let source = include_str!("fault.rs");
    let (_, codes) = source.split_once("pub const fn code(").unwrap();
    let (codes, _) = codes.split_once("const fn class(").unwrap();
    let (_, refusals) = source.split_once("pub fn fault(").unwrap();
    let texts = [codes, refusals].into_iter().flat_map(|part| part.split('"').skip(1).step_by(2));
    let is_code = |text: &&str| {
        text.starts_with(|first: char| first.is_ascii_uppercase()) && !text.contains(' ')
    };
    let given: BTreeSet<String> = texts.filter(is_code).map(str::to_owned).collect();
    assert_eq!(named, given);

    // What the columns say, of each refusal of the books.
    let rows = codes_of(of_books);
    assert!(rows.len() >= 14, "{rows:?}");
    for (code, rest) in rows {
        let mut columns = rest.split(" | ");
        let (class, used) = (columns.next().unwrap(), columns.next().unwrap() == "yes");
        let row = format!("\"{class}\", \"{code}\", {used}");
        let tests = include_str!("tests.rs").split_whitespace().collect::<Vec<_>>().join(" ");
        assert!(tests.contains(&row), "no fault is shown to be {row}");
    }
    // Only these may be sent again unchanged.
    for (code, rest) in codes_of(of_messages) {
        let again = matches!(code.as_str(), "Busy" | "Unavailable");
        assert_eq!(rest.contains("faultcode `Server`"), again, "{code}: {rest}");
    }
}

#[test]
fn the_longest_answer_fits_a_reader() {
    let most = told((0..256).map(|_| deposit(u64::MAX, &"\r".repeat(64))).collect());
    for form in [Form::Encoded, Form::Literal] {
        let (bytes, _) = answer(&most, form, Operation::GetDeposits, cents());
        assert!(bytes.len() <= REPLY_BYTES_MAX, "{}", bytes.len());
        let Ok(Reply::Told { deposits, .. }) = read_reply(&bytes, cents()) else {
            panic!("{form:?}")
        };
        assert_eq!(deposits.len(), 256);
        assert_eq!(deposits[0], (Amount::MAX, "\r".repeat(64)));
    }
}

fn forms() -> impl Strategy<Value = Form> {
    prop_oneof![Just(Form::Encoded), Just(Form::Literal)]
}

fn asks() -> impl Strategy<Value = Ask> {
    let order = "[ -~\t\n\r\u{a0}-\u{d7ff}]{0,16}";
    let transfer = (any::<u64>(), order).prop_map(|(units, order)| AskBody::Transfer {
        to: bob(),
        amount: Amount::new(units),
        order: Text::cut(&order),
    });
    let body = prop_oneof![transfer, Just(AskBody::Query)];
    (any::<u32>(), body).prop_map(|(counter, body)| Ask { counter, body })
}

proptest! {
    #[test]
    fn what_a_holder_writes_is_read(ask in asks(), form in forms(), wait in 0..600_000_u64) {
        let wait = Duration::from_milliseconds(wait);
        let question = read(&write(&ask, wait, form, cents()), cents()).unwrap();
        prop_assert_eq!(question.form, form);
        prop_assert_eq!(&question.ask, &ask);
        if ask.body == AskBody::Query {
            prop_assert_eq!(question.wait, wait);
        }
    }

    #[test]
    fn what_an_issuer_writes_is_read(units in proptest::collection::vec((any::<u64>(), "[ -~]{0,40}"), 0..20), form in forms()) {
        let deposits = units.iter().map(|(units, order)| deposit(*units, order)).collect();
        let (bytes, _) = answer(&told(deposits), form, Operation::Query, cents());
        let Reply::Told { deposits, .. } = read_reply(&bytes, cents()).unwrap() else { panic!() };
        let wanted: Vec<_> = units.into_iter().map(|(units, order)| (Amount::new(units), order)).collect();
        prop_assert_eq!(deposits, wanted);
    }

    #[test]
    fn any_bytes_are_read_or_refused(bytes in proptest::collection::vec(any::<u8>(), 0..300)) {
        let _ = read(&bytes, cents());
        let _ = read_reply(&bytes, cents());
    }

    /// The canary of the readers: a good message with any one byte changed is never another payment by accident of
    /// parsing, and never a panic.
    #[test]
    fn a_damaged_message_is_read_or_refused(ask in asks(), form in forms(), place in any::<prop::sample::Index>(), byte: u8) {
        let mut bytes = write(&ask, Duration::ZERO, form, cents());
        let place = place.index(bytes.len());
        bytes[place] = byte;
        let _ = read(&bytes, cents());
    }
}
