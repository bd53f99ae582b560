# SPDX-License-Identifier: Apache-2.0
"""tmr-vip as a real process in real network namespaces: who answers for the address, and when nobody does."""

import contextlib
import os
import pwd
import socket
import subprocess

import pytest
from scapy.layers.inet6 import ICMPv6ND_NA, ICMPv6NDOptDstLLAddr, IPv6
from scapy.layers.l2 import ARP, Ether

from tests.netns.conftest import Front
from tests.netns.world import VIP, VIP6, Manager, boottime_ns, thawed, until

NOBODY = "0.0.0.0"  # noqa: S104 - the sender of an ARP probe
BOTH = (f"{VIP}/32", f"{VIP6}/128")
KERNEL_LATE_NS = 500_000_000  # measured 15 to 168 ms; room for a busy machine


def announcements(frames: list[tuple[int, bytes]], mac: str) -> list[tuple[int, Ether]]:
    """Gratuitous ARP and Neighbour Advertisements from `mac`, decoded by scapy."""
    decoded = [(at, Ether(frame)) for at, frame in frames]
    return [
        (at, frame)
        for at, frame in decoded
        if frame.src == mac
        and (
            (ARP in frame and frame[ARP].psrc == VIP and frame[ARP].pdst == VIP)
            or (ICMPv6ND_NA in frame and frame[ICMPv6ND_NA].tgt == VIP6)
        )
    ]


def test_takeover_moves_the_clients_neighbour_entry(front: Front) -> None:
    lan = front.lan
    first, second = front.manager("tmr1"), front.manager("tmr2")
    one, two = front.commander(first), front.commander(second)
    assert one.expect("hello") == {"event": "hello", "version": 1, "carrier": True}
    two.expect("hello")
    assert not lan["client"].reaches()

    with one.keep(epoch=1):
        one.expect("held")
        assert lan["client"].reaches()
        assert lan["client"].neighbour() == lan["tmr1"].mac
        assert not lan["tmr2"].has()
    one.drop(epoch=1)
    assert one.expect("dropped")["reason"] == "asked"
    assert not lan["tmr1"].has()

    with two.keep(epoch=2):
        two.expect("held")
        # By the announcement alone: the client has asked nothing in between.
        until(lambda: lan["client"].neighbour() == lan["tmr2"].mac, "the client learns the new place")
        assert lan["client"].reaches()
        assert not lan["tmr1"].has()


def test_ipv6_takeover_moves_the_clients_neighbour_entry(front: Front) -> None:
    lan = front.lan
    one = front.commander(front.manager("tmr1", BOTH))
    two = front.commander(front.manager("tmr2", BOTH))
    with one.keep(epoch=1):
        one.expect("held")
        assert lan["client"].reaches(VIP6)
        assert lan["client"].neighbour(VIP6) == lan["tmr1"].mac
    one.drop(epoch=1)
    one.expect("dropped")
    assert not lan["tmr1"].has(VIP6)
    with two.keep(epoch=2):
        two.expect("held")
        until(lambda: lan["client"].neighbour(VIP6) == lan["tmr2"].mac, "the client learns the new place")
        assert lan["client"].reaches(VIP6)


def test_frames_as_an_independent_decoder_sees_them(front: Front) -> None:
    mac = front.lan["tmr1"].mac
    commander = front.commander(front.manager("tmr1", BOTH))
    commander.expect("hello")
    capture = front.capture("client")
    with commander.keep(epoch=1):
        commander.expect("held")
        # At once and after 1.1 s: two forms of ARP and one NA each time.
        seen = until(
            lambda: seen if len(seen := announcements(capture.frames, mac)) >= 6 else [], "six frames"
        )
    for burst in (seen[0:3], seen[3:6]):
        (_, request), (_, reply), (_, advertisement) = burst
        assert [request[ARP].op, reply[ARP].op] == [1, 2]
        for frame in (request, reply):
            arp = frame[ARP]
            assert frame.dst == "ff:ff:ff:ff:ff:ff"
            assert (arp.hwtype, arp.ptype, arp.hwlen, arp.plen) == (1, 0x0800, 6, 4)
            assert (arp.hwsrc, arp.psrc, arp.pdst) == (mac, VIP, VIP)
        ip, na = advertisement[IPv6], advertisement[ICMPv6ND_NA]
        assert (advertisement.dst, ip.dst, ip.hlim, ip.src) == ("33:33:00:00:00:01", "ff02::1", 255, VIP6)
        assert (na.R, na.S, na.O, na.tgt) == (0, 0, 1, VIP6)
        assert advertisement[ICMPv6NDOptDstLLAddr].lladdr == mac
        fresh = advertisement.copy()
        del fresh[ICMPv6ND_NA].cksum
        assert Ether(bytes(fresh))[ICMPv6ND_NA].cksum == na.cksum
    assert 1.0e9 < seen[3][0] - seen[0][0] < 2.0e9


def test_kernel_takes_the_address_when_manager_and_server_are_frozen(front: Front) -> None:
    space = front.lan["tmr1"]
    manager = front.manager("tmr1", BOTH)
    commander = front.commander(manager)
    deadline = commander.hold(epoch=1, seconds=2.0)
    commander.expect("held")
    with thawed(manager, commander):
        manager.freeze()
        commander.freeze()
        assert space.has(VIP)
        assert space.has(VIP6)
        until(lambda: not space.has(VIP) and not space.has(VIP6), "the kernel removes both")
        assert boottime_ns() < deadline + KERNEL_LATE_NS
        # Nobody answers, though both processes still exist.
        assert not front.lan["client"].reaches()
        until(lambda: boottime_ns() > deadline, "the lease ends")
    assert commander.expect("dropped")["reason"] == "deadline"
    assert not space.has()


def test_address_of_a_frozen_server_goes_at_the_deadline(front: Front) -> None:
    space = front.lan["tmr1"]
    manager = front.manager("tmr1")
    commander = front.commander(manager)
    deadline = commander.hold(epoch=1, seconds=1.7)
    commander.expect("held")
    with thawed(commander):
        commander.freeze()
        until(lambda: not space.has(), "the address goes")
        gone = boottime_ns()
    # Not at the end of the kernel's first whole second, and not past the lease.
    assert deadline - 400_000_000 < gone < deadline + 100_000_000
    # By the manager or, when it had no turn in the last moment, by the kernel.
    assert commander.expect("dropped")["reason"] == "deadline"


def test_killed_commander_address_goes_first_then_the_release(front: Front) -> None:
    space = front.lan["tmr1"]
    upstream = front.upstream()
    commander = front.commander(front.manager("tmr1"))
    commander.hold(epoch=7, release=b"\x82release 7")
    commander.expect("held")
    assert space.has()
    commander.kill()
    until(lambda: upstream.releases, "the will arrives")
    [release] = upstream.releases
    assert not release.vip_up
    assert release.body == b"\x82release 7"
    assert release.path == "/v1/lease/release"
    assert release.headers["Content-Type"] == "application/msgpack"
    assert release.sender == "spiffe://lab/twin/tmr1"


def test_release_is_repeated_for_a_target_in_trouble_and_not_for_a_refusal(front: Front) -> None:
    upstream = front.upstream(statuses=(503, 409))
    manager = front.manager("tmr1")
    commander = front.commander(manager)
    commander.hold(epoch=1)
    commander.expect("held")
    commander.kill()
    manager.until_logged("event=release-refused target=" + upstream.target + ' reason="status 409"')
    assert len(upstream.releases) == 2


def test_no_release_after_an_orderly_drop(front: Front) -> None:
    upstream = front.upstream()
    manager = front.manager("tmr1")
    commander = front.commander(manager)
    commander.hold(epoch=1)
    commander.expect("held")
    commander.drop(epoch=1)
    commander.expect("dropped")
    commander.kill()
    successor = front.commander(manager)
    successor.expect("hello")
    assert manager.terminate() == 0  # waits for releases under way
    assert upstream.releases == []


def test_epoch_of_the_dead_is_refused_to_the_next_commander(front: Front) -> None:
    manager = front.manager("tmr1")
    commander = front.commander(manager)
    commander.hold(epoch=5)
    commander.expect("held")
    commander.kill()
    successor = front.commander(manager)
    successor.expect("hello")
    successor.hold(epoch=5)
    assert "epoch 5 was given up" in successor.expect("refused")["detail"]
    successor.hold(epoch=4)
    assert "older epoch" in successor.expect("refused")["detail"]
    successor.hold(epoch=6)
    assert successor.expect("held")["epoch"] == 6


def test_kernel_takes_the_address_after_the_manager_is_killed(front: Front) -> None:
    space = front.lan["tmr1"]
    manager = front.manager("tmr1")
    commander = front.commander(manager)
    deadline = commander.hold(epoch=1)
    commander.expect("held")
    manager.kill()
    assert space.has()
    until(lambda: not space.has(), "the kernel removes it")
    assert boottime_ns() < deadline + KERNEL_LATE_NS


def test_leftover_is_removed_at_start_and_its_lookalike_is_not(front: Front) -> None:
    space = front.lan["tmr1"]
    for address in (f"{VIP}/24", "10.20.0.10/24", f"{VIP6}/64", "fd00:20::10/64"):
        space.ip("address", "add", address, "dev", "eth0")
    manager = front.manager("tmr1", BOTH)
    assert not space.has(VIP)
    assert not space.has(VIP6)
    assert space.has("10.20.0.10")
    assert space.has("fd00:20::10")
    assert manager.text().count("event=leftover-removed") == 2


def test_orderly_stop_and_clear_leave_nothing(front: Front) -> None:
    space = front.lan["tmr1"]
    manager = front.manager("tmr1")
    commander = front.commander(manager)
    commander.hold(epoch=1)
    commander.expect("held")
    assert manager.terminate() == 0
    assert not space.has()
    assert not manager.path.exists()
    assert commander.expect("dropped")["detail"] == "the VIP manager is stopping"
    commander.expect(None)

    space.ip("address", "add", f"{VIP}/32", "dev", "eth0")
    space.ip("address", "add", "10.20.0.10/32", "dev", "eth0")
    subprocess.run(Manager.command(space, manager.config, "--clear"), check=True, capture_output=True)
    assert not space.has()
    assert space.has("10.20.0.10")


def test_carrier_loss_drops_the_address_and_is_reported(front: Front) -> None:
    space = front.lan["tmr1"]
    commander = front.commander(front.manager("tmr1"))
    with commander.keep(epoch=1):
        commander.expect("held")
        front.lan.cable("tmr1", plugged=False)
        assert commander.expect("dropped")["reason"] == "carrier"
        assert commander.expect("carrier")["up"] is False
        assert not space.has()
        assert "no carrier" in commander.expect("refused")["detail"]
        front.lan.cable("tmr1", plugged=True)
        assert commander.expect("carrier")["up"] is True
        commander.expect("held")
        assert space.has()


def test_foreign_claims_are_reported_and_defended(front: Front) -> None:
    lan = front.lan
    commander = front.commander(front.manager("tmr1", BOTH))
    mac, intruder = lan["tmr1"].mac, lan["up1"].mac
    with commander.keep(epoch=1):
        commander.expect("held")
        assert lan["client"].reaches()
        reply = Ether(src=intruder, dst="ff:ff:ff:ff:ff:ff") / ARP(
            op=2, hwsrc=intruder, psrc=VIP, hwdst="ff:ff:ff:ff:ff:ff", pdst=VIP
        )
        advertisement = (
            Ether(src=intruder, dst="33:33:00:00:00:01")
            / IPv6(src=VIP6, dst="ff02::1", hlim=255)
            / ICMPv6ND_NA(R=0, S=0, O=1, tgt=VIP6)
            / ICMPv6NDOptDstLLAddr(lladdr=intruder)
        )
        sender = lan["up1"].inside(lambda: socket.socket(socket.AF_PACKET, socket.SOCK_RAW))
        with contextlib.closing(sender):
            for _ in range(5):
                sender.sendto(bytes(reply), ("eth0", 0))
            sender.sendto(bytes(advertisement), ("eth0", 0))
        conflicts = [commander.expect("conflict") for _ in range(2)]
        assert {(c["address"], c["mac"]) for c in conflicts} == {(VIP, intruder), (VIP6, intruder)}
        until(lambda: lan["client"].neighbour() == mac, "the client comes back to the rightful holder")
        assert lan["client"].reaches()
    commander.drop(epoch=1)
    commander.expect("dropped")
    assert sum(report["event"] == "conflict" for report in commander.seen) == 2


def test_address_removed_by_somebody_else_is_put_back(front: Front) -> None:
    space = front.lan["tmr1"]
    manager = front.manager("tmr1")
    commander = front.commander(manager)
    with commander.keep(epoch=1):
        commander.expect("held")
        space.ip("address", "delete", f"{VIP}/32", "dev", "eth0")
        manager.until_logged(f"event=vanished address={VIP}")
        until(space.has, "it comes back")


def test_wrong_user_is_refused(front: Front) -> None:
    # Another user who may open the socket file, but not command.
    nobody, daemon = pwd.getpwnam("nobody"), pwd.getpwnam("daemon")
    manager = front.manager("tmr1", peer_user="nobody")
    assert manager.path.stat().st_mode & 0o777 == 0o660
    manager.path.chmod(0o666)
    stranger = front.commander(manager, user=daemon.pw_uid)
    assert stranger.expect("refused")["detail"].startswith(f"uid {daemon.pw_uid} may not command")
    stranger.expect(None)
    rightful = front.commander(manager, user=nobody.pw_uid)
    rightful.expect("hello")
    rightful.hold(epoch=1)
    rightful.expect("held")


def test_second_commander_waits_until_the_first_is_gone(front: Front) -> None:
    manager = front.manager("tmr1")
    first = front.commander(manager)
    first.expect("hello")
    second = front.commander(manager)
    assert f"process {first.popen.pid} commands" in second.expect("refused")["detail"]
    second.expect(None)
    first.hold(epoch=1)
    first.expect("held")
    first.kill()
    manager.until_logged("event=lease-release ")
    front.commander(manager).expect("hello")


@pytest.mark.parametrize(
    "garbage",
    [
        b"\n",
        b"\xff\xfe\x00\n",
        b"[1, 2]\n",
        b'{"op": "fly"}\n',
        b'{"op": "hold", "epoch": "seven", "deadline_ns": 1}\n',
        b'{"op": "hold", "epoch": -1, "deadline_ns": 1}\n',
        b'{"op": "hold", "epoch": 1, "deadline_ns": 1, "release": "***"}\n',
        b"[" * 60_000 + b"\n",
        b"x" * 200_000 + b"\n",
    ],
    ids=["empty", "bytes", "array", "unknown", "type", "negative", "base64", "nesting", "length"],
)
def test_garbage_is_refused_without_harm(front: Front, garbage: bytes) -> None:
    commander = front.commander(front.manager("tmr1"))
    with commander.keep(epoch=1):
        commander.expect("held")
        commander.send(garbage)
        refused = commander.expect("refused")
        assert refused["detail"]
        assert front.lan["tmr1"].has()
    commander.drop(epoch=1)
    assert commander.expect("dropped")["reason"] == "asked"


def test_command_cut_off_by_death_is_not_followed(front: Front) -> None:
    manager = front.manager("tmr1")
    commander = front.commander(manager)
    commander.expect("hello")
    commander.send(b'{"op":"hold","epoch":1,"deadline_ns":%d}' % (boottime_ns() + 2_000_000_000))
    commander.popen.stdin.close()  # type: ignore[union-attr]
    manager.until_logged("event=command-cut-off")
    assert not front.lan["tmr1"].has()


def test_supervisor_hears_of_readiness_life_and_end(front: Front) -> None:
    manager = front.manager("tmr1")
    commander = front.commander(manager)
    manager.until_notified("STATUS=not holding the VIP")
    manager.status.clear()
    manager.until_notified("WATCHDOG=1")  # though nothing happens
    commander.hold(epoch=7)
    manager.until_notified("STATUS=holding the VIP, epoch 7")
    assert manager.terminate() == 0
    manager.until_notified("STOPPING=1")


def test_flood_of_foreign_claims_does_not_crowd_out_commands(front: Front) -> None:
    lan = front.lan
    commander = front.commander(front.manager("tmr1"))
    intruder = lan["up1"].mac
    claim = bytes(
        Ether(src=intruder, dst="ff:ff:ff:ff:ff:ff")
        / ARP(op=1, hwsrc=intruder, psrc=VIP, hwdst="00:00:00:00:00:00", pdst=VIP)
    )
    sender = lan["up1"].inside(lambda: socket.socket(socket.AF_PACKET, socket.SOCK_RAW))
    with contextlib.closing(sender), commander.keep(epoch=1):
        commander.expect("held")
        end = boottime_ns() + 3_000_000_000
        while boottime_ns() < end:
            for _ in range(200):
                with contextlib.suppress(OSError):  # the queue of the interface is full
                    sender.sendto(claim, ("eth0", 0))
        assert lan["tmr1"].has()
    commander.drop(epoch=1)
    assert commander.expect("dropped")["reason"] == "asked"
    assert [report["event"] for report in commander.seen].count("conflict") == 1


def test_malformed_and_forged_frames_change_nothing(front: Front) -> None:
    """Frames that end too soon, of unknown kinds, and claims in the holder's own name."""
    lan = front.lan
    manager = front.manager("tmr1", BOTH)
    commander = front.commander(manager)
    mac, intruder, everybody = lan["tmr1"].mac, lan["up1"].mac, "ff:ff:ff:ff:ff:ff"
    claim = bytes(Ether(src=intruder, dst=everybody) / ARP(op=2, hwsrc=intruder, psrc=VIP, pdst=VIP))
    solicitation = (
        Ether(src=intruder, dst="33:33:00:00:00:01")
        / IPv6(src=VIP6, dst="ff02::1", hlim=255)
        / ICMPv6ND_NA(R=0, S=0, O=1, tgt=VIP6)
        / ICMPv6NDOptDstLLAddr(lladdr=intruder)
    )
    frames = [whole[:length] for whole in (claim, bytes(solicitation)) for length in range(14, 28)]
    frames += [claim[:18] + bytes([255, 255]) + claim[20:], claim[:20] + b"\x00\x09" + claim[22:]]
    forged = ARP(op=2, hwsrc=mac, psrc=VIP, hwdst=everybody, pdst=VIP)
    frames += [
        bytes(Ether(src=mac, dst=everybody) / forged),
        bytes(Ether(src=intruder, dst=everybody) / forged),
    ]
    frames.append(
        bytes(Ether(src=intruder, dst=everybody) / ARP(op=1, hwsrc=intruder, psrc=NOBODY, pdst=VIP))
    )
    sender = lan["up1"].inside(lambda: socket.socket(socket.AF_PACKET, socket.SOCK_RAW))
    with contextlib.closing(sender), commander.keep(epoch=1):
        commander.expect("held")
        for frame in frames:
            sender.sendto(frame, ("eth0", 0))
        until(lan["client"].reaches, "the holder answers")
        assert lan["tmr1"].has() and lan["tmr1"].has(VIP6)
        until(lambda: lan["client"].neighbour() == mac, "the client knows the rightful holder")
    commander.drop(epoch=1)
    assert commander.expect("dropped")["reason"] == "asked"


def test_start_says_what_is_wrong(front: Front) -> None:
    space, config = front.lan["tmr1"], front.config("tmr1")

    def start(text: str) -> subprocess.CompletedProcess[str]:
        config.write_text(text)
        command = Manager.command(space, config)
        return subprocess.run(command, check=False, capture_output=True, text=True, timeout=20)

    good = config.read_text()
    done = start(good.replace('"eth0"', '"eth9"'))
    assert done.returncode == 1
    assert "eth9 does not exist" in done.stderr
    assert "eth0" in done.stderr
    done = start(good.replace('"root"', '"tmr-nobody"'))
    assert done.returncode == 2
    assert "there is no user 'tmr-nobody'" in done.stderr
    done = start(good.replace("upstream-up1", "absent").replace("twin-tmr1.key", "absent.key"))
    assert done.returncode == 2
    assert "release.key" in done.stderr
    config.write_text(good)
    running = front.manager("tmr1")
    done = start(good)
    assert done.returncode == 2
    assert "another tmr-vip listens" in done.stderr
    front.commander(running).expect("hello")


def test_different_sysctls_are_named_at_start(front: Front) -> None:
    front.lan["tmr1"].run("sysctl", "-qw", "net.ipv4.conf.eth0.arp_ignore=0")
    manager = front.manager("tmr1")
    text = manager.text()
    assert "key=net.ipv4.conf.eth0.arp_ignore found=0 wanted=1" in text
    assert "arp_announce" not in text
    assert os.path.exists(manager.path)  # noqa: PTH110
