//! The ports that connections come to, taken before the first shard starts and listens there.

use std::{io, net::SocketAddr};

use socket2::{Domain, Protocol, Socket, Type};

/// A TCP port that nobody else can take. It does not listen itself.
#[derive(Debug)]
pub(super) struct Reserved(#[expect(dead_code, reason = "it is enough to have it")] Socket);

/// Takes a TCP port for listeners that share it, and says which one it is.
///
/// # Errors
/// Somebody else has it, or it is no address of this host.
pub(super) fn reserve(address: SocketAddr) -> io::Result<(SocketAddr, Reserved)> {
    // A port that is shared can be taken without an error; so take it alone, once, first.
    let alone = bind(address, false)?;
    let address = alone.local_addr()?.as_socket().unwrap_or(address);
    drop(alone);
    Ok((address, Reserved(bind(address, true)?)))
}

fn bind(address: SocketAddr, is_shared: bool) -> io::Result<Socket> {
    let socket = Socket::new(Domain::for_address(address), Type::STREAM, Some(Protocol::TCP))?;
    // Connections that have just ended are no reason to wait. Among sockets that do not listen yet,
    // though, this alone would let others have the port.
    socket.set_reuse_address(!is_shared)?;
    socket.set_reuse_port(is_shared)?;
    socket.bind(&address.into())?;
    Ok(socket)
}

#[cfg(test)]
mod tests {
    use std::net::{Ipv4Addr, TcpListener};

    use super::*;

    #[test]
    fn a_reserved_port_is_nobody_elses_and_can_be_shared() {
        let any = SocketAddr::from((Ipv4Addr::LOCALHOST, 0));
        let (address, reserved) = reserve(any).unwrap();
        assert_ne!(address.port(), 0);
        assert!(TcpListener::bind(address).is_err());
        assert!(bind(address, true).is_ok());
        drop(reserved);
        let listener = TcpListener::bind(address).unwrap();
        assert_eq!(reserve(address).unwrap_err().kind(), io::ErrorKind::AddrInUse);
        drop(listener);
    }
}
