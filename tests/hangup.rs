//! Calls are taken down over the API: one by its Call-ID, or all of them.

#[path = "live/caller.rs"]
mod caller;
mod live;
use caller::Caller;
use live::Appliance;

#[test]
fn a_call_is_hung_up_by_its_call_id_and_others_stay() {
    let appliance = Appliance::start();
    let caller = Caller::new(appliance.sip);
    for call in ["one@pbx/7", "two", "three"] {
        caller.dial(call, 9);
    }
    appliance.wait_for("/api/qos/metrics", |calls| calls["active_calls"] == 3);
    let answer = appliance.post("/api/calls/one%40pbx%2F7/hangup", "");
    assert_eq!(answer.status, 200, "{answer:?}");
    let bye = caller.receive_until(|message| message.0.starts_with("BYE "));
    assert_eq!(bye.header("Call-ID"), Some("one@pbx/7"));
    caller.accept(&bye);
    let ended = appliance.history(1);
    assert_eq!(ended[0]["call_id"], "one@pbx/7");
    assert_eq!(ended[0]["ended_by"], "callee");
    assert_eq!(appliance.json("/api/qos/metrics")["active_calls"], 2);
    let again = appliance.post("/api/calls/one%40pbx%2F7/hangup", "");
    assert_eq!(again.status, 404, "{again:?}");
    assert!(again.body.contains("one@pbx/7"), "{again:?}");
}

#[test]
fn all_calls_are_hung_up_and_new_ones_are_answered() {
    let appliance = Appliance::start();
    let caller = Caller::new(appliance.sip);
    let calls: Vec<String> = (0..20).map(|n| format!("call-{n}")).collect();
    calls.iter().for_each(|call| drop(caller.dial(call, 9)));
    appliance.wait_for("/api/qos/metrics", |metrics| metrics["active_calls"] == 20);
    let answer = appliance.post("/api/calls/hangup", "");
    assert_eq!(answer.status, 200, "{answer:?}");
    assert!(answer.body.contains("\"calls\":20"), "{answer:?}");
    let mut left = calls;
    while !left.is_empty() {
        let bye = caller.receive_until(|message| message.0.starts_with("BYE "));
        caller.accept(&bye);
        left.retain(|call| Some(call.as_str()) != bye.header("Call-ID"));
    }
    appliance.history(20);
    caller.dial("next", 9);
}

#[test]
fn a_call_that_rings_is_refused() {
    let appliance = Appliance::with("[routes]\n'5' = 'ring'", &["--shards", "1"]);
    let caller = Caller::new(appliance.sip);
    caller.invite_user("5", "ringing", 9);
    appliance.wait_for("/api/qos/metrics", |calls| calls["active_calls"] == 1);
    assert_eq!(appliance.post("/api/calls/ringing/hangup", "").status, 200);
    let refusal = caller.receive_until(|message| message.0.starts_with("SIP/2.0 5"));
    caller.send("ACK", "ringing", refusal.to_tag());
    assert_eq!(appliance.history(1)[0]["status_code"], 503);
}

#[test]
fn who_only_asks_hangs_nothing_up() {
    let appliance = Appliance::start();
    for path in ["/api/calls/hangup", "/api/calls/x/hangup", "/api/reload"] {
        assert_eq!(appliance.get(path).status, 405, "{path}");
    }
}
