"""The network: to the host, past it, and what is told of it."""

from __future__ import annotations

import socket

from .prelude import Evidence, Host, read


def connect_to_host(host: Host) -> Evidence:
    """connect to a port of the host by TCP"""
    with socket.create_connection(("127.0.0.1", host["port"]), 2) as line:
        return line.recv(4096).decode()


def connect_by_ipv6(host: Host) -> Evidence:
    """open an IPv6 socket"""
    with socket.socket(socket.AF_INET6, socket.SOCK_STREAM):
        return True


def send_datagram(host: Host) -> Evidence:
    """send a UDP datagram to the host"""
    with socket.socket(socket.AF_INET, socket.SOCK_DGRAM) as line:
        return line.sendto(b"here", ("127.0.0.1", host["datagrams"])) > 0


def listen(host: Host) -> Evidence:
    """listen on a port of the host"""
    with socket.create_server(("127.0.0.1", 0)) as line:
        return line.getsockname()[1] > 0


def connect_by_path(host: Host) -> Evidence:
    """connect to a socket that lies in a folder of the host"""
    with socket.socket(socket.AF_UNIX, socket.SOCK_STREAM) as line:
        line.connect(host["socket"])
        return line.recv(4096).decode()


def connect_by_abstract_name(host: Host) -> Evidence:
    """connect to a socket of the host that has a name and no file"""
    with socket.socket(socket.AF_UNIX, socket.SOCK_STREAM) as line:
        line.connect("\0" + host["abstract"])
        return line.recv(4096).decode()


def raw_packets(host: Host) -> Evidence:
    """read raw packets"""
    with socket.socket(socket.AF_PACKET, socket.SOCK_RAW, 3 << 8):
        return True


def ask_routes(host: Host) -> Evidence:
    """ask the kernel for its network devices"""
    with socket.socket(socket.AF_NETLINK, socket.SOCK_RAW, 0):
        return True


def talk_to_hypervisor(host: Host) -> Evidence:
    """open a socket to the machine around this one"""
    with socket.socket(socket.AF_VSOCK, socket.SOCK_STREAM):
        return True


def see_ports(host: Host) -> Evidence:
    """see the host's open ports in /proc"""
    return f":{host['port']:04X} " in read("/proc/net/tcp")


def see_name_servers(host: Host) -> Evidence:
    """read which name servers the host asks"""
    return "nameserver" in read("/etc/resolv.conf")


def see_devices(host: Host) -> Evidence:
    """see a network device beside the sandbox's own loop"""
    return any(name != "lo" for _, name in socket.if_nameindex())
