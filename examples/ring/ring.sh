#!/bin/sh
# Writes ring.yaml: sh ring.sh >ring.yaml
n=100
cat <<HEAD
# A ring of $n domains that heals by itself, with static routes alone; written by: sh ring.sh >ring.yaml
#
# Each domain sends what is its own by \`next\`, and passes on by one side what came in by the other: that is what its two
# further tables are for. Where the cable on that side is cut the table's second route is the best one, and sends the
# packet back round the other way; whoever gets it then passes it on that way, and so on up to where it belongs. It may
# come past the domain that has sent it (\`accept_local\`), and take more than 64 hops (\`ip_default_ttl\`).
domains:
HEAD
i=0
while [ $((i += 1)) -le $n ]; do
    before=$(((i + n - 2) % n + 1))
    next="via: 10.0.$i.1, dev: next" prev="via: 10.0.$before.0, dev: prev"
    # What is the same in each stands in the first one.
    [ $i = 1 ] && sysctls='&sysctls {net.ipv4.ip_forward: 1, net.ipv4.ip_default_ttl: 255, net.ipv4.conf.all.accept_local: 1}' || sysctls='*sysctls'
    cat <<DOMAIN
  d$i:
    rdomain: $i
    lo: {addresses: [127.0.0.1/8, 10.255.0.$i/32]}
    sysctls: $sysctls
    interfaces: {prev: {addresses: [10.0.$before.1/31]}, next: {addresses: [10.0.$i.0/31]}}
    routes: [{to: default, $next, metric: 1}, {to: default, $prev, metric: 2}]
    rtables:
      $((1000 + i)): {routes: [{to: default, $next, metric: 1}, {to: default, $prev, metric: 2}]}
      $((2000 + i)): {routes: [{to: default, $prev, metric: 1}, {to: default, $next, metric: 2}]}
    rules: [{iif: prev, rtable: $((1000 + i))}, {iif: next, rtable: $((2000 + i))}]
DOMAIN
done
printf '\nlinks:\n'
i=0
while [ $((i += 1)) -le $n ]; do
    echo "  - {ends: [d$i/next, d$((i % n + 1))/prev]}"
done
half=$((n / 2 + 1))
cat <<TESTS

tests:
  - {in: d1, path: 10.255.0.4, hops: [d2, d3, d4]}
  - {in: d1, ping: 10.255.0.$half, name: there by one half and back by the other}
  - {in: d$half, tcp: "10.255.0.1:80", serve: d1}

steps:
  - {cut: d1/next}
  - {in: d1, path: 10.255.0.$((n - 2)), hops: [d$n, d$((n - 1)), d$((n - 2))]}
  - {in: d1, ping: 10.255.0.2, name: the long way round}
  - {restore: d1/next}
  - {cut: d20/next}
  - {in: d1, ping: 10.255.0.$half, name: to the cut and back past its beginning}
  - {in: d20, ping: 10.255.0.21}
  - {cut: d80/next}
  - {in: d1, ping: 10.255.0.$half, expect: unreachable, name: two cuts are two rings}
  - {in: d1, ping: 10.255.0.90}
  - {restore: d20/next}
  - {in: d1, ping: 10.255.0.$half}
TESTS
