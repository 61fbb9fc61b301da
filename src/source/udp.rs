//! UDP sockets that receive and send in batches: one system call for up to 64 datagrams.
//!
//! Every datagram carries the kernel's receive time (`SO_TIMESTAMPNS`) and the local address it
//! came to (`IP_PKTINFO`), and the socket says how many it dropped (`SO_RXQ_OVFL`). Nothing here
//! waits: an empty socket is an answer.
#![expect(unsafe_code, reason = "recvmmsg, sendmmsg and their control messages have no safe form")]

use std::{
    io, mem,
    net::{IpAddr, Ipv4Addr, Ipv6Addr, SocketAddr, SocketAddrV4, SocketAddrV6},
    os::fd::{AsRawFd, RawFd},
    ptr,
};

use arrayvec::ArrayVec;
use socket2::{Domain, Protocol, Socket, Type};

use crate::{
    time::{NANOS_PER_SEC, Timestamp},
    wire::{Datagram, IpMarks, Transport},
};

/// Datagrams handled by one system call.
pub const BATCH: usize = 64;

/// A bound, non-blocking UDP socket.
#[derive(Debug)]
pub struct UdpSocket {
    socket: Socket,
    local: SocketAddr,
    reads_marks: bool,
}

/// How to bind a [`UdpSocket`].
#[derive(Clone, Copy, Debug)]
pub struct UdpOptions {
    /// Share the port with other sockets that also ask for this; the kernel then spreads flows.
    pub reuse_port: bool,
    /// Receive buffer asked for, bytes. The kernel may give less, unless we may force it.
    pub receive_buffer_bytes: usize,
    /// Send buffer asked for, bytes.
    pub send_buffer_bytes: usize,
    /// Whether one in [`MARKED_EVERY`] batches comes with what the IP headers say about the way.
    pub reads_marks: bool,
}

impl Default for UdpOptions {
    fn default() -> Self {
        Self {
            reuse_port: false,
            receive_buffer_bytes: DEFAULT_BUFFER_BYTES,
            send_buffer_bytes: DEFAULT_BUFFER_BYTES,
            reads_marks: false,
        }
    }
}

impl UdpSocket {
    /// Binds to `address`. An IPv6 wildcard also takes IPv4.
    ///
    /// # Errors
    /// What the system says: the address is taken, is not ours, needs a privilege.
    pub fn bind(address: SocketAddr, options: UdpOptions) -> io::Result<Self> {
        let domain = if address.is_ipv4() { Domain::IPV4 } else { Domain::IPV6 };
        let socket = Socket::new(domain, Type::DGRAM, Some(Protocol::UDP))?;
        if address.is_ipv6() {
            socket.set_only_v6(false)?;
        }
        socket.set_reuse_port(options.reuse_port)?;
        socket.set_nonblocking(true)?;
        set_buffer(&socket, libc::SO_RCVBUFFORCE, libc::SO_RCVBUF, options.receive_buffer_bytes)?;
        set_buffer(&socket, libc::SO_SNDBUFFORCE, libc::SO_SNDBUF, options.send_buffer_bytes)?;
        set_option(&socket, libc::SOL_SOCKET, libc::SO_TIMESTAMPNS, 1)?;
        set_option(&socket, libc::SOL_SOCKET, libc::SO_RXQ_OVFL, 1)?;
        if address.is_ipv4() {
            set_option(&socket, libc::IPPROTO_IP, libc::IP_PKTINFO, 1)?;
        } else {
            set_option(&socket, libc::IPPROTO_IPV6, libc::IPV6_RECVPKTINFO, 1)?;
        }
        socket.bind(&address.into())?;
        let local = socket.local_addr()?.as_socket().unwrap_or(address);
        Ok(Self { socket, local, reads_marks: options.reads_marks })
    }

    /// The address it is bound to, with the port the system chose if 0 was asked for.
    #[must_use]
    pub const fn local_addr(&self) -> SocketAddr {
        self.local
    }

    /// Has the kernel tell octets of the IP header with what is received from now on, or not.
    fn set_marks(&self, is_told: bool) -> io::Result<()> {
        let set = |level, name| set_option(&self.socket, level, name, is_told.into());
        // A socket of IPv6 takes IPv4, too.
        set(libc::IPPROTO_IP, libc::IP_RECVTOS)?;
        set(libc::IPPROTO_IP, libc::IP_RECVTTL)?;
        if self.local.is_ipv6() {
            set(libc::IPPROTO_IPV6, libc::IPV6_RECVTCLASS)?;
            set(libc::IPPROTO_IPV6, libc::IPV6_RECVHOPLIMIT)?;
        }
        Ok(())
    }

    /// Another descriptor of the same socket, for who waits until it can be read.
    ///
    /// # Errors
    /// No descriptor is left.
    pub fn try_clone_std(&self) -> io::Result<std::net::UdpSocket> {
        Ok(self.socket.try_clone()?.into())
    }

    /// Sends up to [`BATCH`] datagrams and says how many the kernel took. 0 means that its
    /// buffer is full: try the same ones later.
    ///
    /// # Errors
    /// The first datagram cannot be sent at all (no route, forbidden, too long): drop it.
    pub fn send_batch(&self, outgoing: &[Outgoing<'_>]) -> io::Result<usize> {
        let mut names: ArrayVec<libc::sockaddr_storage, BATCH> = ArrayVec::new();
        let mut parts: ArrayVec<libc::iovec, BATCH> = ArrayVec::new();
        let mut controls: ArrayVec<SendControl, BATCH> = ArrayVec::new();
        let mut headers: ArrayVec<libc::mmsghdr, BATCH> = ArrayVec::new();
        for datagram in outgoing.iter().take(BATCH) {
            let (name, _) = to_sockaddr(datagram.dst, self.local.is_ipv6());
            names.push(name);
            parts.push(libc::iovec {
                iov_base: datagram.payload.as_ptr().cast_mut().cast(),
                iov_len: datagram.payload.len(),
            });
            controls.push(SendControl::new(datagram.src, self.local.is_ipv6()));
        }
        let name_len = sockaddr_len(self.local.is_ipv6());
        for ((name, part), control) in names.iter_mut().zip(&mut parts).zip(&mut controls) {
            headers.push(message_header(
                ptr::from_mut(name).cast(),
                name_len,
                ptr::from_mut(part),
                control.pointer(),
                control.len,
            ));
        }
        let count = u32::try_from(headers.len()).unwrap_or(0);
        // SAFETY: every pointer in `headers` goes to an element of `names`, `parts`, `controls`
        // or to a payload, all of which outlive the call and do not move before it returns.
        let sent = unsafe {
            libc::sendmmsg(
                self.socket.as_raw_fd(),
                headers.as_mut_ptr(),
                count,
                libc::MSG_DONTWAIT | libc::MSG_NOSIGNAL,
            )
        };
        count_or_empty(sent)
    }
}

impl AsRawFd for UdpSocket {
    fn as_raw_fd(&self) -> RawFd {
        self.socket.as_raw_fd()
    }
}

/// A datagram to send.
#[derive(Clone, Copy, Debug)]
pub struct Outgoing<'a> {
    /// The local address to send from; `None` leaves it to the routing table.
    pub src: Option<IpAddr>,
    /// Where it goes.
    pub dst: SocketAddr,
    /// Its bytes.
    pub payload: &'a [u8],
}

/// Room for one batch of received datagrams; allocated once, used for every batch.
#[derive(Debug)]
pub struct RecvBatch {
    slot_bytes: usize,
    payloads: Box<[u8]>,
    names: Box<[libc::sockaddr_storage]>,
    controls: Box<[RecvControl]>,
    parts: Box<[libc::iovec]>,
    headers: Box<[libc::mmsghdr]>,
    facts: ArrayVec<Facts, BATCH>,
    filled: usize,
    truncated: u64,
    overflow: Option<u32>,
    /// Chooses the batches that tell their marks, so that no socket is always left out.
    rng: fastrand::Rng,
}

impl RecvBatch {
    /// Room for `slots` datagrams (at most [`BATCH`]) of up to `slot_bytes` each.
    #[must_use]
    pub fn new(slots: usize, slot_bytes: usize) -> Self {
        let slots = slots.clamp(1, BATCH);
        // SAFETY: all-zero is a valid value of these C structures.
        let (name, header): (libc::sockaddr_storage, libc::mmsghdr) =
            unsafe { (mem::zeroed(), mem::zeroed()) };
        let part = libc::iovec { iov_base: ptr::null_mut(), iov_len: 0 };
        let mut batch = Self {
            slot_bytes,
            payloads: vec![0; slots * slot_bytes].into(),
            names: vec![name; slots].into(),
            controls: vec![RecvControl([0; RECV_CONTROL_WORDS]); slots].into(),
            parts: vec![part; slots].into(),
            headers: vec![header; slots].into(),
            facts: ArrayVec::new(),
            filled: slots,
            truncated: 0,
            overflow: None,
            rng: fastrand::Rng::with_seed(0),
        };
        // The boxes never move their contents, so the pointers can be set once.
        for (slot, header) in batch.headers.iter_mut().enumerate() {
            let part = &mut batch.parts[slot];
            part.iov_base = batch.payloads[slot * slot_bytes..].as_mut_ptr().cast();
            part.iov_len = slot_bytes;
            *header = message_header(
                ptr::from_mut(&mut batch.names[slot]).cast(),
                0,
                part,
                batch.controls[slot].0.as_mut_ptr().cast(),
                0,
            );
        }
        batch
    }

    /// Takes what is waiting in `socket`, up to one batch, and says how many it was. Fewer than
    /// the slots means that the socket is drained.
    ///
    /// # Errors
    /// What the system says about the socket; an empty one is `Ok(0)`.
    pub fn receive(&mut self, socket: &UdpSocket) -> io::Result<usize> {
        self.facts.clear();
        self.truncated = 0;
        self.overflow = None;
        // The kernel shortened the lengths of the slots that it filled last time.
        for header in &mut self.headers[..self.filled] {
            header.msg_hdr.msg_namelen = sockaddr_len(true);
            header.msg_hdr.msg_controllen = size_of::<RecvControl>();
        }
        let is_marked = socket.reads_marks && self.rng.u32(..MARKED_EVERY) == 0;
        if is_marked {
            socket.set_marks(true)?;
        }
        // SAFETY: `headers` points into this batch's own boxes, each entry to a slot of its own,
        // with the lengths set above; nothing else uses them during the call.
        let received = unsafe {
            libc::recvmmsg(
                socket.as_raw_fd(),
                self.headers.as_mut_ptr(),
                u32::try_from(self.headers.len()).unwrap_or(0),
                libc::MSG_DONTWAIT,
                ptr::null_mut(),
            )
        };
        let count = count_or_empty(received);
        if is_marked {
            socket.set_marks(false)?;
        }
        let count = count?;
        self.filled = count;
        for slot in 0..count {
            self.read_facts(slot, socket.local);
        }
        Ok(count)
    }

    /// The datagrams of the last [`receive`](Self::receive), without those that were cut off.
    pub fn datagrams(&self) -> impl ExactSizeIterator<Item = Datagram<'_>> {
        self.facts.iter().map(|facts| Datagram {
            received_at: facts.received_at,
            src: facts.src,
            dst: facts.dst,
            transport: Transport::Udp,
            marks: facts.marks,
            payload: &self.payloads[facts.slot * self.slot_bytes..][..facts.len],
        })
    }

    /// How many datagrams of the last batch were longer than a slot and are left out.
    #[must_use]
    pub const fn truncated(&self) -> u64 {
        self.truncated
    }

    /// How many datagrams the kernel has dropped at this socket since it was opened, modulo
    /// 2^32, where the last batch said so.
    #[must_use]
    pub const fn overflow(&self) -> Option<u32> {
        self.overflow
    }

    fn read_facts(&mut self, slot: usize, local: SocketAddr) {
        let header = &self.headers[slot];
        let control = read_control(&header.msg_hdr);
        if control.overflow.is_some() {
            self.overflow = control.overflow;
        }
        if header.msg_hdr.msg_flags & libc::MSG_TRUNC != 0 {
            self.truncated += 1;
            return;
        }
        let Some(src) = from_sockaddr(&self.names[slot]) else { return };
        let dst = SocketAddr::new(control.local.unwrap_or_else(|| local.ip()), local.port());
        let len = usize::try_from(header.msg_len).unwrap_or(0).min(self.slot_bytes);
        let received_at = control.received_at.unwrap_or_else(super::clock::now);
        self.facts.push(Facts { received_at, src, dst, marks: control.marks, slot, len });
    }
}

#[derive(Clone, Copy, Debug)]
struct Facts {
    received_at: Timestamp,
    src: SocketAddr,
    dst: SocketAddr,
    marks: IpMarks,
    slot: usize,
    len: usize,
}

/// Room for a time stamp, a packet info of either family, a drop count, and two octets of the IP
/// header.
#[derive(Clone, Copy, Debug)]
#[repr(C, align(8))]
struct RecvControl([u64; RECV_CONTROL_WORDS]);

#[derive(Default)]
struct ControlFacts {
    received_at: Option<Timestamp>,
    local: Option<IpAddr>,
    overflow: Option<u32>,
    marks: IpMarks,
}

fn read_control(header: &libc::msghdr) -> ControlFacts {
    let mut facts = ControlFacts::default();
    // SAFETY: the kernel filled `msg_control` with `msg_controllen` bytes of well-formed control
    // messages; the CMSG functions stay inside them.
    let mut message = unsafe { libc::CMSG_FIRSTHDR(header) };
    while !message.is_null() {
        // SAFETY: not null, so it points to a whole control message header in the buffer; its
        // data has the type that level and type say, read unaligned.
        unsafe {
            let data = libc::CMSG_DATA(message);
            match ((*message).cmsg_level, (*message).cmsg_type) {
                (libc::SOL_SOCKET, libc::SCM_TIMESTAMPNS) => {
                    let time: libc::timespec = ptr::read_unaligned(data.cast());
                    facts.received_at = Some(from_timespec(time));
                }
                (libc::SOL_SOCKET, libc::SO_RXQ_OVFL) => {
                    facts.overflow = Some(ptr::read_unaligned(data.cast()));
                }
                (libc::IPPROTO_IP, libc::IP_PKTINFO) => {
                    let info: libc::in_pktinfo = ptr::read_unaligned(data.cast());
                    facts.local = Some(Ipv4Addr::from(u32::from_be(info.ipi_addr.s_addr)).into());
                }
                (libc::IPPROTO_IPV6, libc::IPV6_PKTINFO) => {
                    let info: libc::in6_pktinfo = ptr::read_unaligned(data.cast());
                    facts.local = Some(IpAddr::from(info.ipi6_addr.s6_addr).to_canonical());
                }
                (libc::IPPROTO_IP, libc::IP_TOS) => {
                    facts.marks = facts.marks.with_traffic_class(*data);
                }
                (libc::IPPROTO_IPV6, libc::IPV6_TCLASS) => {
                    facts.marks = facts.marks.with_traffic_class(octet(data));
                }
                (libc::IPPROTO_IP, libc::IP_TTL) | (libc::IPPROTO_IPV6, libc::IPV6_HOPLIMIT) => {
                    facts.marks = facts.marks.with_ttl(octet(data));
                }
                _ => {}
            }
            message = libc::CMSG_NXTHDR(header, message);
        }
    }
    facts
}

/// The value of a control message that holds an octet in an integer.
///
/// # Safety
/// `data` points to an integer, aligned or not.
unsafe fn octet(data: *const u8) -> u8 {
    // SAFETY: as the caller says.
    let value: libc::c_int = unsafe { ptr::read_unaligned(data.cast()) };
    u8::try_from(value).unwrap_or(0)
}

fn from_timespec(time: libc::timespec) -> Timestamp {
    let secs = u64::try_from(time.tv_sec).unwrap_or(0);
    let nanos = u64::try_from(time.tv_nsec).unwrap_or(0);
    Timestamp::from_nanos(secs.saturating_mul(NANOS_PER_SEC).saturating_add(nanos))
}

/// The control message that chooses the source address of a datagram.
#[repr(C, align(8))]
struct SendControl {
    bytes: [u64; SEND_CONTROL_WORDS],
    len: usize,
}

impl SendControl {
    fn new(src: Option<IpAddr>, as_v6: bool) -> Self {
        let mut control = Self { bytes: [0; SEND_CONTROL_WORDS], len: 0 };
        let Some(src) = src.filter(|address| !address.is_unspecified()) else { return control };
        match (src, as_v6) {
            (IpAddr::V4(address), false) => control.put(
                libc::IPPROTO_IP,
                libc::IP_PKTINFO,
                libc::in_pktinfo {
                    ipi_ifindex: 0,
                    ipi_spec_dst: libc::in_addr { s_addr: u32::from(address).to_be() },
                    ipi_addr: libc::in_addr { s_addr: 0 },
                },
            ),
            (address, true) => control.put(
                libc::IPPROTO_IPV6,
                libc::IPV6_PKTINFO,
                libc::in6_pktinfo {
                    ipi6_addr: libc::in6_addr { s6_addr: to_v6(address).octets() },
                    ipi6_ifindex: 0,
                },
            ),
            // An IPv4 socket cannot send from an IPv6 address; the routing table decides.
            (IpAddr::V6(_), false) => {}
        }
        control
    }

    fn put<T>(&mut self, level: libc::c_int, kind: libc::c_int, value: T) {
        const { assert!(size_of::<T>() + 16 <= SEND_CONTROL_WORDS * 8) };
        let size = u32::try_from(size_of::<T>()).unwrap_or(0);
        // SAFETY: `bytes` is aligned for a control message header and, by the assertion above,
        // long enough for the header (16 bytes) and the value.
        unsafe {
            let message: *mut libc::cmsghdr = self.bytes.as_mut_ptr().cast();
            (*message).cmsg_level = level;
            (*message).cmsg_type = kind;
            (*message).cmsg_len = libc::CMSG_LEN(size) as usize;
            ptr::write_unaligned(libc::CMSG_DATA(message).cast(), value);
            self.len = libc::CMSG_SPACE(size) as usize;
        }
    }

    fn pointer(&mut self) -> *mut libc::c_void {
        if self.len == 0 { ptr::null_mut() } else { self.bytes.as_mut_ptr().cast() }
    }
}

fn message_header(
    name: *mut libc::c_void,
    name_len: libc::socklen_t,
    part: *mut libc::iovec,
    control: *mut libc::c_void,
    control_len: usize,
) -> libc::mmsghdr {
    // SAFETY: all-zero is a valid value of this C structure; its padding has no public name.
    let mut header: libc::mmsghdr = unsafe { mem::zeroed() };
    header.msg_hdr.msg_name = name;
    header.msg_hdr.msg_namelen = name_len;
    header.msg_hdr.msg_iov = part;
    header.msg_hdr.msg_iovlen = 1;
    header.msg_hdr.msg_control = control;
    header.msg_hdr.msg_controllen = control_len;
    header
}

/// What a batch call returned, where "nothing there" and "no room" are a count of 0.
fn count_or_empty(returned: libc::c_int) -> io::Result<usize> {
    usize::try_from(returned).or_else(|_| {
        let error = io::Error::last_os_error();
        match error.kind() {
            io::ErrorKind::WouldBlock | io::ErrorKind::Interrupted => Ok(0),
            _ if error.raw_os_error() == Some(libc::ENOBUFS) => Ok(0),
            _ => Err(error),
        }
    })
}

fn to_v6(address: IpAddr) -> Ipv6Addr {
    match address {
        IpAddr::V4(address) => address.to_ipv6_mapped(),
        IpAddr::V6(address) => address,
    }
}

/// The address as the kernel wants it on a socket of the given family.
fn to_sockaddr(address: SocketAddr, as_v6: bool) -> (libc::sockaddr_storage, libc::socklen_t) {
    let address = match address {
        SocketAddr::V4(v4) if as_v6 => {
            SocketAddr::new(IpAddr::V6(v4.ip().to_ipv6_mapped()), v4.port())
        }
        other => other,
    };
    let raw = socket2::SockAddr::from(address);
    // SAFETY: all-zero is a valid sockaddr_storage, and a socket2 address is one of at most
    // that size.
    unsafe {
        let mut storage: libc::sockaddr_storage = mem::zeroed();
        ptr::copy_nonoverlapping(
            raw.as_ptr().cast::<u8>(),
            ptr::from_mut(&mut storage).cast(),
            raw.len() as usize,
        );
        (storage, raw.len())
    }
}

/// The sender's address; IPv4 in its own form even where it came through an IPv6 socket.
fn from_sockaddr(storage: &libc::sockaddr_storage) -> Option<SocketAddr> {
    match i32::from(storage.ss_family) {
        libc::AF_INET => {
            // SAFETY: the family says that this storage holds a sockaddr_in.
            let raw: &libc::sockaddr_in = unsafe { &*ptr::from_ref(storage).cast() };
            let ip = Ipv4Addr::from(u32::from_be(raw.sin_addr.s_addr));
            Some(SocketAddrV4::new(ip, u16::from_be(raw.sin_port)).into())
        }
        libc::AF_INET6 => {
            // SAFETY: the family says that this storage holds a sockaddr_in6.
            let raw: &libc::sockaddr_in6 = unsafe { &*ptr::from_ref(storage).cast() };
            let ip = Ipv6Addr::from(raw.sin6_addr.s6_addr);
            let port = u16::from_be(raw.sin6_port);
            Some(match ip.to_ipv4_mapped() {
                Some(v4) => SocketAddrV4::new(v4, port).into(),
                None => SocketAddrV6::new(ip, port, 0, raw.sin6_scope_id).into(),
            })
        }
        _ => None,
    }
}

fn sockaddr_len(v6: bool) -> libc::socklen_t {
    let size = if v6 { size_of::<libc::sockaddr_in6>() } else { size_of::<libc::sockaddr_in>() };
    libc::socklen_t::try_from(size).unwrap_or(0)
}

/// Asks for a buffer size past the system's limit where we may, within it where we may not.
fn set_buffer(socket: &Socket, force: i32, ask: i32, bytes: usize) -> io::Result<()> {
    let bytes = libc::c_int::try_from(bytes).unwrap_or(libc::c_int::MAX);
    set_option(socket, libc::SOL_SOCKET, force, bytes)
        .or_else(|_| set_option(socket, libc::SOL_SOCKET, ask, bytes))
}

fn set_option(socket: &Socket, level: i32, name: i32, value: libc::c_int) -> io::Result<()> {
    // SAFETY: the pointer and length describe `value`, which outlives the call.
    let result = unsafe {
        libc::setsockopt(
            socket.as_raw_fd(),
            level,
            name,
            ptr::from_ref(&value).cast(),
            libc::socklen_t::try_from(size_of_val(&value)).unwrap_or(0),
        )
    };
    if result == 0 { Ok(()) } else { Err(io::Error::last_os_error()) }
}

/// Of so many batches one tells its marks: for each packet they cost a tenth of all that receiving
/// it does.
pub const MARKED_EVERY: u32 = 16;

/// Room for 40 ms of 100,000 packets a second, at the kernel's 768 bytes for a small one.
const DEFAULT_BUFFER_BYTES: usize = 4 << 20;

/// 32 bytes for a timespec, 40 for an in6_pktinfo, 24 for a counter and for each of two octets,
/// with their headers.
const RECV_CONTROL_WORDS: usize = 18;

/// 40 bytes for an in6_pktinfo with its header.
const SEND_CONTROL_WORDS: usize = 5;

#[cfg(test)]
mod tests {
    use super::*;

    fn pair(address: &str) -> (UdpSocket, UdpSocket) {
        let bind = || UdpSocket::bind(address.parse().unwrap(), UdpOptions::default()).unwrap();
        (bind(), bind())
    }

    fn exchange(from: &UdpSocket, to: &UdpSocket, dst: SocketAddr, src: IpAddr) {
        let before = super::super::clock::now();
        let outgoing = [Outgoing { src: Some(src), dst, payload: b"one" }; 3];
        assert_eq!(from.send_batch(&outgoing).unwrap(), 3);
        let mut batch = RecvBatch::new(BATCH, 2048);
        assert_eq!(batch.receive(to).unwrap(), 3);
        for datagram in batch.datagrams() {
            assert_eq!(datagram.payload, b"one");
            assert_eq!(datagram.dst, dst);
            assert_eq!(datagram.src, SocketAddr::new(src, from.local_addr().port()));
            assert!(datagram.received_at >= before);
        }
        assert_eq!(batch.receive(to).unwrap(), 0);
    }

    #[test]
    fn a_batch_carries_addresses_and_times() {
        let (from, to) = pair("127.0.0.1:0");
        exchange(&from, &to, to.local_addr(), "127.0.0.1".parse().unwrap());
    }

    #[test]
    fn a_wildcard_socket_knows_the_address_it_was_reached_at() {
        let (from, to) = pair("0.0.0.0:0");
        let dst = SocketAddr::new("127.0.0.3".parse().unwrap(), to.local_addr().port());
        exchange(&from, &to, dst, "127.0.0.2".parse().unwrap());
    }

    #[test]
    fn an_ipv6_wildcard_takes_both_families() {
        let (from, to) = pair("[::]:0");
        let v6 = SocketAddr::new("::1".parse().unwrap(), to.local_addr().port());
        exchange(&from, &to, v6, "::1".parse().unwrap());
        let v4 = SocketAddr::new("127.0.0.1".parse().unwrap(), to.local_addr().port());
        exchange(&from, &to, v4, "127.0.0.1".parse().unwrap());
    }

    /// Expedited forwarding, and any time to live that is nobody's default.
    fn send_marked(from: &UdpSocket, to: SocketAddr) {
        let (level, class, ttl) = if to.is_ipv4() {
            (libc::IPPROTO_IP, libc::IP_TOS, libc::IP_TTL)
        } else {
            (libc::IPPROTO_IPV6, libc::IPV6_TCLASS, libc::IPV6_UNICAST_HOPS)
        };
        set_option(&from.socket, level, class, 46 << 2 | 1).unwrap();
        set_option(&from.socket, level, ttl, 61).unwrap();
        from.send_batch(&[Outgoing { src: None, dst: to, payload: b"marked" }]).unwrap();
    }

    #[test]
    fn some_datagrams_tell_their_codepoint_and_time_to_live_where_it_is_asked_for() {
        for (from, to, dst) in [
            ("127.0.0.1:0", "127.0.0.1:0", "127.0.0.1:0"),
            ("[::1]:0", "[::]:0", "[::1]:0"),
            ("127.0.0.1:0", "[::]:0", "127.0.0.1:0"),
        ] {
            for (reads_marks, expected) in [(true, 30..=100), (false, 0..=0)] {
                let options = UdpOptions { reads_marks, ..UdpOptions::default() };
                let to = UdpSocket::bind(to.parse().unwrap(), options).unwrap();
                let from = UdpSocket::bind(from.parse().unwrap(), UdpOptions::default()).unwrap();
                let mut dst: SocketAddr = dst.parse().unwrap();
                dst.set_port(to.local_addr().port());
                let mut batch = RecvBatch::new(1, 64);
                let mut marked = 0;
                for _ in 0..1000 {
                    send_marked(&from, dst);
                    assert_eq!(batch.receive(&to).unwrap(), 1);
                    let marks = batch.datagrams().next().unwrap().marks;
                    if marks != IpMarks::UNKNOWN {
                        assert_eq!((marks.dscp(), marks.ttl()), (Some(46), Some(61)), "{dst}");
                        marked += 1;
                    }
                }
                assert!(expected.contains(&marked), "{marked} of 1000 to {dst}");
            }
        }
    }

    #[test]
    fn a_datagram_longer_than_its_slot_is_counted_and_left_out() {
        let (from, to) = pair("127.0.0.1:0");
        let long = [0; 65];
        let outgoing = Outgoing { src: None, dst: to.local_addr(), payload: &long };
        let short = Outgoing { payload: &long[..64], ..outgoing };
        assert_eq!(from.send_batch(&[outgoing, short]).unwrap(), 2);
        let mut batch = RecvBatch::new(4, 64);
        batch.receive(&to).unwrap();
        assert_eq!((batch.truncated(), batch.datagrams().len()), (1, 1));
    }

    #[test]
    fn a_full_socket_says_what_it_dropped() {
        let small = UdpOptions { receive_buffer_bytes: 4096, ..UdpOptions::default() };
        let to = UdpSocket::bind("127.0.0.1:0".parse().unwrap(), small).unwrap();
        let from = UdpSocket::bind("127.0.0.1:0".parse().unwrap(), UdpOptions::default()).unwrap();
        let payload = [0; 1000];
        let one = Outgoing { src: None, dst: to.local_addr(), payload: &payload };
        from.send_batch(&[one; 20]).unwrap();
        let mut batch = RecvBatch::new(BATCH, 2048);
        let received = batch.receive(&to).unwrap();
        from.send_batch(&[one]).unwrap();
        batch.receive(&to).unwrap();
        assert_eq!(batch.overflow(), Some(20 - u32::try_from(received).unwrap()));
    }
}
