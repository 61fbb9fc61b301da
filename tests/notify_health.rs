//! How the notifiers are, as health and metrics show it.

use voxplane::notify::State;

mod http;
mod notify;
use http::{get, snapshot, start_notifying};
use notify::{Answer, Server, alert, closed_port, start, until};

const HOOK: &str = "[[notify]]\nname = 'noc'\nkind = 'webhook'\nurl_env = 'SECRET'\n";

#[test]
fn what_is_delivered_is_counted_and_health_is_well() {
    let server = Server::start(vec![Answer::status(400), Answer::status(200)]);
    let notifiers = start(HOOK, &server.url());
    (1..=3).for_each(|id| notifiers.handle().notify(alert(id, State::Firing)));
    until(&notifiers.handle(), |status| status.sent == 2);
    let api = start_notifying(snapshot(), notifiers.handle());
    let health = get(api.local_addr(), "/healthz").json();
    let noc = &health["notifiers"][0];
    assert_eq!((&noc["name"], &noc["kind"]), (&"noc".into(), &"webhook".into()));
    assert_eq!((&noc["sent"], &noc["gave_up"], &noc["queued"]), (&2.into(), &1.into(), &0.into()));
    assert_eq!(noc["is_well"], true);
    let metrics = get(api.local_addr(), "/metrics").body;
    for (name, value) in [
        ("voxplane_notifier_up", 1),
        ("voxplane_notifications_sent_total", 2),
        ("voxplane_notifications_retried_total", 0),
        ("voxplane_notifications_given_up_total", 1),
        ("voxplane_notifications_dropped_total", 0),
        ("voxplane_notifications_queued", 0),
    ] {
        let line = format!("{name}{{notifier=\"noc\",kind=\"webhook\"}} {value}");
        assert!(metrics.lines().any(|found| found == line), "{line}: {metrics}");
    }
}

#[test]
fn one_that_cannot_deliver_degrades_without_naming_hosts() {
    let address = closed_port();
    let notifiers = start(HOOK, &format!("http://{address}/t0k3n"));
    notifiers.handle().notify(alert(1, State::Firing));
    until(&notifiers.handle(), |status| !status.is_well);
    let api = start_notifying(snapshot(), notifiers.handle());
    let answer = get(api.local_addr(), "/healthz");
    assert_eq!(answer.json()["status"], "degraded");
    assert!(answer.body.contains("a notifier cannot deliver"), "{answer:?}");
    assert!(!answer.body.contains("t0k3n") && !answer.body.contains(&address.to_string()));
}
