//! The command line: what is understood, and what is refused with a sentence.

use std::time::Duration;

use clap::Parser as _;
use loadgen::options::{AudioCodec, Options, Target};

fn parse(line: &str) -> Result<Options, String> {
    let words = std::iter::once("loadgen").chain(line.split_whitespace());
    Options::try_parse_from(words).map_err(|error| error.to_string())
}

#[test]
fn defaults_are_those_of_a_plain_call() {
    let options = parse("192.0.2.9 --calls 3").unwrap();
    let scenario = options.scenario().unwrap();
    assert_eq!(options.target, Target { host: "192.0.2.9".into(), port: 5060 });
    assert_eq!((scenario.calls, scenario.packets), (3, 1000));
    assert_eq!((scenario.codec, scenario.user.as_str()), (AudioCodec::Pcmu, "sink"));
    assert_eq!(scenario.impairments, loadgen::impair::Impairments::default());
    assert_eq!(scenario.start_offset(2), Duration::from_millis(200));
}

#[test]
fn targets_are_names_or_addresses_of_both_families() {
    for (text, host, port) in [
        ("pbx.example.com", "pbx.example.com", 5060),
        ("pbx:5070", "pbx", 5070),
        ("192.0.2.9:5070", "192.0.2.9", 5070),
        ("2001:db8::9", "2001:db8::9", 5060),
        ("[2001:db8::9]", "2001:db8::9", 5060),
        ("[2001:db8::9]:5070", "2001:db8::9", 5070),
    ] {
        let target = parse(&format!("{text} --calls 1")).unwrap().target;
        assert_eq!(target, Target { host: host.into(), port }, "{text}");
    }
    for text in ["pbx:0", "pbx:x", "pbx:99999", ":5060", "sip:pbx", "a/b"] {
        assert!(parse(&format!("{text} --calls 1")).is_err(), "{text}");
    }
}

#[test]
fn durations_have_units() {
    for (text, millis) in
        [("20s", 20_000), ("1m30s", 90_000), ("500ms", 500), ("1.5s", 1500), ("1h", 3_600_000)]
    {
        let options = parse(&format!("a --calls 1 --duration {text}")).unwrap();
        assert_eq!(options.duration, Duration::from_millis(millis), "{text}");
    }
    for text in ["20", "s", "20x", "1m30", "-1s", "50ms", "25h", "1..2s", "99999999999999999999s"] {
        let error = parse(&format!("a --calls 1 --duration={text}")).unwrap_err();
        assert!(error.contains("expected a time"), "{text}: {error}");
    }
}

#[test]
fn values_out_of_range_are_named_with_their_option() {
    for (option, says) in [
        ("--loss=101", "from 0 to 100"),
        ("--loss=-1", "from 0 to 100"),
        ("--loss=NaN", "from 0 to 100"),
        ("--reorder=2%", "from 0 to 100"),
        ("--duplicate=x", "from 0 to 100"),
        ("--jitter=201", "from 0 to 200"),
        ("--rate=0", "calls per second"),
        ("--rate=inf", "calls per second"),
        ("--burst=0.5", "from 1 to 100"),
        ("--threads=0", "0 is not in"),
        ("--codec=g729", "pcmu"),
        ("--user=a@b", "letters"),
        ("--bind=0.0.0.0", "wildcard"),
        ("--bind=here", "expected an address"),
        ("--verify=https://a", "http://host:port"),
        ("--verify=http://", "http://host:port"),
        ("--report=xml", "json"),
        ("--api-token-file=t", "--verify"),
    ] {
        let error = parse(&format!("a --calls 1 {option}")).unwrap_err();
        let name = option.split('=').next().unwrap();
        assert!(error.contains(says) && error.contains(name), "{option}: {error}");
    }
    assert!(parse("a").unwrap_err().contains("--calls"));
    assert!(parse("a --calls 0").unwrap_err().contains("0 is not in"));
    assert!(parse("--calls 1").unwrap_err().contains("TARGET"));
}

#[test]
fn a_burst_too_short_for_its_loss_is_refused() {
    let options = parse("a --calls 1 --loss 60 --burst 1").unwrap();
    let error = options.scenario().unwrap_err().to_string();
    assert_eq!(error, "--burst 1 allows for at most --loss 50.0, not 60");
    assert!(parse("a --calls 1 --loss 60 --burst 2").unwrap().scenario().is_ok());
}

#[test]
fn as_many_calls_are_impaired_as_asked_for_evenly_spread() {
    let scenario =
        parse("pbx --calls 200 --loss 6 --impaired-calls 20").unwrap().scenario().unwrap();
    let impaired: Vec<u32> = (0..200).filter(|&call| scenario.is_impaired(call)).collect();
    assert_eq!(impaired, (0..20).map(|n| n * 10 + 9).collect::<Vec<_>>());
    assert_eq!(scenario.impairments_of(9).loss, 0.06);
    assert_eq!(scenario.impairments_of(10), loadgen::impair::Impairments::default());
    let all = parse("pbx --calls 3 --loss 6").unwrap().scenario().unwrap();
    assert!((0..3).all(|call| all.is_impaired(call)));
    let none = parse("pbx --calls 3 --loss 6 --impaired-calls 0").unwrap().scenario().unwrap();
    assert!(!(0..3).any(|call| none.is_impaired(call)));
    let error = parse("pbx --calls 3 --impaired-calls 4").unwrap().scenario().unwrap_err();
    assert_eq!(error.to_string(), "--impaired-calls 4 is more than --calls 3");
}
