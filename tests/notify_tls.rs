//! Delivery over HTTPS: only to whom a certificate that is trusted speaks for.
#![expect(clippy::unwrap_used, reason = "what fails here fails the test")]

use std::sync::Arc;

use rustls::{
    ServerConfig,
    pki_types::{CertificateDer, PrivateKeyDer, pem::PemObject as _},
};
use voxplane::notify::State;

mod notify;
use notify::{Answer, Server, alert, start, until};

/// A server whose certificate is for `localhost`, by an authority of these tests alone.
fn server() -> Server {
    let certificate = CertificateDer::from_pem_file("tests/fixtures/notify/server.pem").unwrap();
    let key = PrivateKeyDer::from_pem_file("tests/fixtures/notify/server.key").unwrap();
    let tls = ServerConfig::builder()
        .with_no_client_auth()
        .with_single_cert(vec![certificate], key)
        .unwrap();
    Server::start_with(vec![Answer::status(200)], Some(Arc::new(tls)))
}

fn table(host: &str, server: &Server, more: &str) -> String {
    let url = format!("https://{host}:{}/hook", server.addr.port());
    format!("[[notify]]\nname = 'noc'\nkind = 'webhook'\nurl = '{url}'\n{more}")
}

const TRUSTING: &str = "ca_file = 'tests/fixtures/notify/ca.pem'";

#[test]
fn an_authority_of_one_s_own_is_trusted_where_it_is_named() {
    let server = server();
    let notifiers = start(&table("localhost", &server, TRUSTING), "");
    notifiers.handle().notify(alert(1, State::Firing));
    assert_eq!(server.request().json()["id"], 1);
    assert_eq!(until(&notifiers.handle(), |status| status.sent == 1).retried, 0);
}

#[test]
fn a_certificate_that_is_not_trusted_or_for_another_gets_nothing() {
    let server = server();
    for (host, more, said) in
        [("localhost", "", "UnknownIssuer"), ("127.0.0.1", TRUSTING, "NotValidForName")]
    {
        let notifiers = start(&table(host, &server, more), "");
        notifiers.handle().notify(alert(1, State::Firing));
        let status = until(&notifiers.handle(), |status| status.retried > 0);
        let error = status.last_error.unwrap();
        let words = error.replace(' ', "");
        assert!(words.to_lowercase().contains(&said.to_lowercase()), "{host}: {error}");
    }
    assert!(server.is_quiet());
}
