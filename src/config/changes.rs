//! What is different between two configurations, and what of it a running appliance takes.

use super::{Config, SipTls};

/// What a configuration that was read again says otherwise, by the names of the settings.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Changes {
    /// In force now.
    pub applied: Vec<&'static str>,
    /// In force after the next start.
    pub needs_restart: Vec<&'static str>,
}

/// Writes [`Config::changes`] and [`Config::taking`] from one list, in which every setting has to
/// stand: `live` ones are taken by a running appliance, `fixed` ones at a start.
macro_rules! settings {
    (
        live { $($live:ident: $live_key:literal,)+ }
        fixed { $($fixed:ident: $fixed_key:literal,)+ }
    ) => {
        impl Config {
            /// What `new` says otherwise.
            #[must_use]
            pub fn changes(&self, new: &Self) -> Changes {
                let Self { sip_tls, $($live,)+ $($fixed,)+ } = self;
                let mut changes = Changes::default();
                if address(sip_tls) != address(&new.sip_tls) {
                    changes.needs_restart.push("sip_tls");
                } else if *sip_tls != new.sip_tls {
                    changes.applied.push("tls_certificate");
                }
                $(if *$live != new.$live {
                    changes.applied.push($live_key);
                })+
                $(if *$fixed != new.$fixed {
                    changes.needs_restart.push($fixed_key);
                })+
                changes
            }

            /// What is in force once an appliance that runs with `self` has taken `new`.
            #[must_use]
            pub fn taking(&self, new: Self) -> Self {
                let moved = address(&self.sip_tls) != address(&new.sip_tls);
                Self {
                    sip_tls: if moved { self.sip_tls.clone() } else { new.sip_tls.clone() },
                    $($fixed: self.$fixed.clone(),)+
                    ..new
                }
            }
        }
    };
}

settings! {
    live {
        advertise: "advertise",
        answer_delay: "answer_delay_ms",
        idle_timeout: "idle_timeout_s",
        routes: "routes",
        sounds: "play_file",
        ring_timeout: "ring_timeout_s",
        rtcp_xr: "rtcp_xr",
        scoring: "scoring",
        sip_limits: "sip_limits",
        sip_auth: "sip_auth",
        registrar: "registrar",
        store: "store",
        notify: "notify",
        rules: "alerts",
        trunks: "trunks",
    }
    fixed {
        shards: "shards",
        sip: "sip",
        sip_tcp: "sip_tcp",
        sip_connections_per_shard: "sip_connections_per_shard",
        rtp_ports: "rtp_ports",
        http: "http",
        api_token_file: "api_token_file",
        http_requests_per_second: "http_requests_per_second",
        http_failures_per_minute: "http_failures_per_minute",
        http_limits_loopback: "http_limits_loopback",
        access_log: "access_log",
        data: "data",
        max_calls_per_shard: "max_calls_per_shard",
        history_calls: "history_calls",
        ladder: "ladder",
        jitter_buffers: "jitter_buffer",
    }
}

fn address(tls: &Option<SipTls>) -> Option<std::net::SocketAddr> {
    tls.as_ref().map(|tls| tls.address)
}

#[cfg(test)]
mod tests {
    use super::{super::RawConfig, *};

    fn config(text: &str) -> Config {
        toml::from_str::<RawConfig>(text).unwrap().complete().unwrap()
    }

    #[test]
    fn what_needs_a_start_is_named_and_stays_as_it_was() {
        let old = config("answer_delay_ms = 5");
        let new = config("shards = 3\nanswer_delay_ms = 7\n[alerts.low_mos]\nthreshold = 3.0");
        let changes = old.changes(&new);
        assert_eq!(changes.applied, ["answer_delay_ms", "alerts"]);
        assert_eq!(changes.needs_restart, ["shards"]);
        let taken = old.taking(new.clone());
        assert_eq!(taken.shards, None);
        assert_eq!(taken.answer_delay, new.answer_delay);
        assert_eq!(taken.changes(&new).needs_restart, ["shards"], "until the next start");
        assert_eq!(taken.changes(&new).applied, [""; 0]);
    }

    #[test]
    fn a_certificate_changes_while_it_runs_and_its_address_does_not() {
        let at = |port: u16, file: &str| {
            config(&format!(
                "sip_tls = '127.0.0.1:{port}'\ntls_certificate = '{file}'\ntls_key = 'k.pem'"
            ))
        };
        let old = at(5061, "a.pem");
        assert_eq!(old.changes(&at(5061, "b.pem")).applied, ["tls_certificate"]);
        let moved = at(5062, "a.pem");
        assert_eq!(old.changes(&moved).needs_restart, ["sip_tls"]);
        assert_eq!(old.taking(moved).sip_tls, old.sip_tls);
    }
}
