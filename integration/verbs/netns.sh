#!/bin/bash
# netns.sh PROGRAM - what a userspace WireGuard that is called as `PROGRAM IFNAME` must do.
#
#   ┌──────────────┐      ┌────────────────────────────────┐      ┌──────────────┐
#   │ one          │      │ middle                         │      │ two          │
#   │ wg1          │──────│ UDP 127.0.0.1:1  127.0.0.1:2   │──────│ wg2          │
#   │ 192.168.241.1│      │ where both are started         │      │ 192.168.241.2│
#   │ fd00::1      │      │ as wg1 and wg2, then moved     │      │ fd00::2      │
#   └──────────────┘      └────────────────────────────────┘      └──────────────┘
#
# It is run in private network, mount and PID namespaces with an empty /run and /var/run/wireguard. The first line that
# fails is the last one printed.
set -euo pipefail
program=$1
trap 'echo "FAILED at line $LINENO: $BASH_COMMAND" >&2' ERR

in_one() { ip netns exec one "$@"; }
in_two() { ip netns exec two "$@"; }
await() { for _ in {1..100}; do "$@" >/dev/null 2>&1 && return; sleep 0.1; done; echo "never: $*" >&2; return 1; }
gone() { ! "$@"; }
ended() { [ ! -e "/proc/$1" ] || grep -q ' Z ' "/proc/$1/stat"; }
counted() { wg show "$1" transfer | cut -f "$2"; }
handshake() { wg show "$1" latest-handshakes | cut -f 2; }

# --- started, it returns, and its interface and socket are there
ip link set lo up
ip netns add one
ip netns add two
output=$($program wg1 2>&1)       # whoever reads its output is not kept waiting by the daemon
$program wg2 >/dev/null 2>&1
test -S /var/run/wireguard/wg1.sock
test -S /var/run/wireguard/wg2.sock
ip -o link show wg1 | grep -q 'mtu 1420'
gone $program wg1 2>/dev/null     # a second one of the same name is refused

# --- interfaces move, sockets stay
ip link set wg1 netns one
ip link set wg2 netns two
umask 077
wg genkey >/run/1.key; wg genkey >/run/2.key; wg genpsk >/run/psk
pub1=$(wg pubkey </run/1.key) pub2=$(wg pubkey </run/2.key)
in_one ip addr add 192.168.241.1/24 dev wg1
in_one ip addr add fd00::1/112 dev wg1 nodad
in_two ip addr add 192.168.241.2/24 dev wg2
in_two ip addr add fd00::2/112 dev wg2 nodad
wg set wg1 private-key /run/1.key listen-port 11111 peer "$pub2" preshared-key /run/psk \
    allowed-ips 192.168.241.2/32,fd00::2/128
wg set wg2 private-key /run/2.key listen-port 22222 peer "$pub1" preshared-key /run/psk \
    allowed-ips 192.168.241.1/32,fd00::1/128
in_one ip link set wg1 up
in_two ip link set wg2 up
[ "$(wg show wg1 listen-port)" = 11111 ]
[ "$(wg show wg1 public-key)" = "$pub1" ]
await sh -c 'ss -Hlun | grep -q :11111'
[ -z "$(in_one ss -Hlun)" ]

# --- without an endpoint nothing is sent; with one, both families pass, and what was sent is counted
gone in_one ping -c 1 -W 1 192.168.241.2
wg set wg1 peer "$pub2" endpoint 127.0.0.1:22222
await in_one ping -c 1 -W 1 192.168.241.2
in_one ping -c 10 -f -W 1 192.168.241.2
in_two ping -c 10 -f -W 1 192.168.241.1
in_one ping -6 -c 10 -f -W 1 fd00::2
in_two ping -6 -c 10 -f -W 1 fd00::1
[ "$(wg show wg2 endpoints | cut -f 2)" = 127.0.0.1:11111 ]      # learnt from what came
[ "$(handshake wg1)" -gt 0 ]
[ "$(counted wg1 2)" = "$(counted wg2 3)" ]

# --- a stream arrives whole
head -c 20000000 /dev/urandom >/run/sent
in_two nc -l -N 192.168.241.2 1111 </dev/null >/run/received & listener=$!
await sh -c 'ip netns exec two ss -Hltn | grep -q 1111'
in_one nc -N -w 20 192.168.241.2 1111 </run/sent
wait $listener
cmp /run/sent /run/received

# --- large packets, fragments, another MTU
in_one ping -c 3 -W 1 -M do -s 1392 192.168.241.2
in_one ping -c 3 -W 2 -s 8000 192.168.241.2
in_one ip link set wg1 mtu 1280
in_two ip link set wg2 mtu 1280
in_one ping -c 3 -W 1 -M do -s 1252 192.168.241.2

# --- allowed IPs: a source that is not the peer's is dropped, a prefix goes to one peer only
in_one ip addr add 192.168.241.9/24 dev wg1
gone in_one ping -c 1 -W 1 -I 192.168.241.9 192.168.241.2
wg set wg2 peer "$pub1" allowed-ips 192.168.241.1/32,192.168.241.9/32,fd00::1/128
in_one ping -c 1 -W 1 -I 192.168.241.9 192.168.241.2
pub3=$(wg genkey | wg pubkey)
wg set wg2 peer "$pub3" allowed-ips 192.168.241.9/32
gone in_one ping -c 1 -W 1 -I 192.168.241.9 192.168.241.2
wg set wg2 peer "$pub3" remove
[ "$(wg show wg2 peers)" = "$pub1" ]

# --- roaming: another port, and the other side follows
wg set wg1 listen-port 11119
in_one ping -c 3 -W 1 192.168.241.2
[ "$(wg show wg2 endpoints | cut -f 2)" = 127.0.0.1:11119 ]
in_two ping -c 3 -W 1 192.168.241.1

# --- outside IPv6
wg set wg1 peer "$pub2" endpoint '[::1]:22222'
in_one ping -c 3 -W 1 192.168.241.2
[ "$(wg show wg2 endpoints | cut -f 2)" = '[::1]:11119' ]

# --- a wrong preshared key ends new sessions; a configuration goes out and in again
wg showconf wg2 >/run/wg2.conf
wg set wg2 peer "$pub1" remove
wg set wg2 peer "$pub1" preshared-key <(wg genpsk) allowed-ips 192.168.241.1/32 endpoint '[::1]:11119'
gone in_two ping -c 2 -W 1 192.168.241.1
wg setconf wg2 /run/wg2.conf
await in_two ping -c 1 -W 1 192.168.241.1

# --- keepalives are sent by themselves
before=$(counted wg1 3)
wg set wg1 peer "$pub2" persistent-keepalive 1
await sh -c "[ \$(wg show wg1 transfer | cut -f 3) -gt $before ]"
wg set wg1 peer "$pub2" persistent-keepalive off

# --- the interface is deleted, and the process ends and takes its socket with it
pid=$(ss -Hlxp src /var/run/wireguard/wg1.sock | grep -o 'pid=[0-9]*' | head -n 1 | cut -d= -f 2)
in_one ip link delete wg1
await ended "$pid"
await gone test -e /var/run/wireguard/wg1.sock

# --- so it does when its socket is deleted
pid=$(ss -Hlxp src /var/run/wireguard/wg2.sock | grep -o 'pid=[0-9]*' | head -n 1 | cut -d= -f 2)
rm /var/run/wireguard/wg2.sock
await ended "$pid"
await gone in_two ip link show wg2

# --- in the foreground, by option and by environment, SIGTERM ends it
$program -f wg3 & pid=$!
await test -S /var/run/wireguard/wg3.sock
kill -TERM $pid
wait $pid
gone ip link show wg3 2>/dev/null
WG_PROCESS_FOREGROUND=1 $program wg4 & pid=$!
await test -S /var/run/wireguard/wg4.sock
kill -TERM $pid
wait $pid
echo "all held for $program"
