//! `GET /metrics`: a network in the text format of OpenMetrics 1.0, for Prometheus.
//!
//! A peer is a label by the file's name for it, or by its key where the file has none. No label has an address, for
//! those of peers that roam would make series without end: a peer has three series whatever it does.

use std::fmt;

use prometheus_client::encoding::text::encode;
use prometheus_client::metrics::counter::Counter;
use prometheus_client::metrics::family::Family;
use prometheus_client::metrics::gauge::Gauge;
use prometheus_client::registry::{Metric, Registry, Unit};

use super::overview::{HistoryView, InterfaceStatus, PeerStatus, StatusView, TunnelStatus};
use super::service::{ServiceState, ServiceView};

/// What the text is, for the header `Content-Type`.
pub const METRICS_TYPE: &str = "application/openmetrics-text; version=1.0.0; charset=utf-8";

type Labels = Vec<(&'static str, String)>;
type Counters = Family<Labels, Counter>;
type Gauges = Family<Labels, Gauge>;

/// The metrics of a network.
pub fn metrics(view: &StatusView) -> Result<String, fmt::Error> {
    let mut registry = Registry::with_prefix("rdom");
    let all = Metrics::of(&mut registry);
    let network = ("network", view.network.clone());
    all.differences.get_or_create(&vec![network.clone()]).set(i64_of(view.differs.len() as u64));
    all.unconfirmed.get_or_create(&vec![network.clone()]).set(i64::from(view.goes_back_in_secs.is_some()));
    view.history.iter().for_each(|history| all.add_history(&vec![network.clone()], history));
    for domain in &view.domains {
        let labels =
            [network.clone(), ("domain", domain.domain.to_string()), ("domain_name", domain.name.clone())];
        for interface in &domain.interfaces {
            let labels = [labels.as_slice(), &[("interface", interface.name.clone())]].concat();
            all.add_interface(&labels, interface);
            interface.tunnel.iter().for_each(|tunnel| all.add_tunnel(&labels, tunnel));
        }
        let services = view.services.iter().filter(|service| service.domain == domain.domain);
        services.for_each(|service| all.add_service(&labels, service));
    }
    let mut text = String::new();
    encode(&mut text, &registry)?;
    Ok(text)
}

struct Metrics {
    differences: Gauges,
    unconfirmed: Gauges,
    applies: Counters,
    applies_refused: Counters,
    drifts: Counters,
    sync_age: Gauges,
    up: Gauges,
    received: Counters,
    sent: Counters,
    packets_received: Counters,
    packets_sent: Counters,
    receive_errors: Counters,
    send_errors: Counters,
    socket_in_underlay: Gauges,
    offloads_off: Gauges,
    peer_received: Counters,
    peer_sent: Counters,
    handshake_age: Gauges,
    service_state: Gauges,
    service_restarts: Counters,
}

impl Metrics {
    fn of(registry: &mut Registry) -> Self {
        Self {
            differences: add(registry, "differences", "Steps missing to what was asked for", None),
            unconfirmed: add(
                registry,
                "unconfirmed",
                "Whether what was applied goes back unless it is confirmed",
                None,
            ),
            applies: add(registry, "applies", "Files applied", None),
            applies_refused: add(registry, "applies_refused", "Files refused, with nothing changed", None),
            drifts: add(registry, "drifts", "Differences found that nobody had asked for", None),
            sync_age: add(registry, "sync_age", "Time since the kernel was compared", Some(Unit::Seconds)),
            up: add(registry, "interface_up", "Whether an interface can carry packets", None),
            received: add(registry, "interface_received", "Bytes received", Some(Unit::Bytes)),
            sent: add(registry, "interface_sent", "Bytes sent", Some(Unit::Bytes)),
            packets_received: add(registry, "interface_received_packets", "Packets received", None),
            packets_sent: add(registry, "interface_sent_packets", "Packets sent", None),
            receive_errors: add(registry, "interface_receive_errors", "Packets that were not received", None),
            send_errors: add(registry, "interface_send_errors", "Packets that were not sent", None),
            socket_in_underlay: add(
                registry,
                "tunnel_socket_in_underlay",
                "Whether the UDP socket of a tunnel is in its underlay",
                None,
            ),
            offloads_off: add(
                registry,
                "tunnel_offloads_off",
                "Offloads that the userspace engine of a tunnel does without",
                None,
            ),
            peer_received: add(registry, "peer_received", "Encrypted bytes received", Some(Unit::Bytes)),
            peer_sent: add(registry, "peer_sent", "Encrypted bytes sent", Some(Unit::Bytes)),
            handshake_age: add(registry, "peer_handshake_age", "Time since a handshake", Some(Unit::Seconds)),
            service_state: add(registry, "service_state", "Whether a service is in this state", None),
            service_restarts: add(registry, "service_restarts", "Times it was started again by itself", None),
        }
    }

    fn add_history(&self, labels: &Labels, history: &HistoryView) {
        self.applies.get_or_create(labels).inc_by(history.applies);
        self.applies_refused.get_or_create(labels).inc_by(history.applies_refused);
        self.drifts.get_or_create(labels).inc_by(history.drifts);
        if let Some(secs) = history.last_sync_secs_ago {
            self.sync_age.get_or_create(labels).set(i64_of(secs));
        }
    }

    fn add_interface(&self, labels: &Labels, interface: &InterfaceStatus) {
        let counters = &interface.counters;
        self.up.get_or_create(labels).set(i64::from(interface.state == "up"));
        self.received.get_or_create(labels).inc_by(counters.rx_bytes);
        self.sent.get_or_create(labels).inc_by(counters.tx_bytes);
        self.packets_received.get_or_create(labels).inc_by(counters.rx_packets);
        self.packets_sent.get_or_create(labels).inc_by(counters.tx_packets);
        self.receive_errors.get_or_create(labels).inc_by(counters.rx_errors);
        self.send_errors.get_or_create(labels).inc_by(counters.tx_errors);
    }

    fn add_tunnel(&self, labels: &Labels, tunnel: &TunnelStatus) {
        self.socket_in_underlay.get_or_create(labels).set(i64::from(tunnel.has_socket_in_underlay()));
        self.offloads_off.get_or_create(labels).set(i64_of(tunnel.offloads_off.len() as u64));
        for peer in &tunnel.peers {
            self.add_peer([labels.as_slice(), &[("peer", name(peer))]].concat(), peer);
        }
    }

    fn add_peer(&self, labels: Labels, peer: &PeerStatus) {
        self.peer_received.get_or_create(&labels).inc_by(peer.view.rx_bytes);
        self.peer_sent.get_or_create(&labels).inc_by(peer.view.tx_bytes);
        if let Some(secs) = peer.view.last_handshake_secs_ago {
            self.handshake_age.get_or_create(&labels).set(i64_of(secs));
        }
    }

    fn add_service(&self, domain: &[(&'static str, String)], service: &ServiceView) {
        let labels = [domain, &[("service", service.name.clone())]].concat();
        self.service_restarts.get_or_create(&labels).inc_by(service.restarts.into());
        for state in ServiceState::ALL {
            let labels = [labels.as_slice(), &[("state", state.word().to_owned())]].concat();
            self.service_state.get_or_create(&labels).set(i64::from(service.state == state));
        }
    }
}

fn add<M: Metric + Clone + Default>(
    registry: &mut Registry,
    name: &str,
    help: &str,
    unit: Option<Unit>,
) -> M {
    let metric = M::default();
    match unit {
        Some(unit) => registry.register_with_unit(name, help, unit, metric.clone()),
        None => registry.register(name, help, metric.clone()),
    }
    metric
}

fn name(peer: &PeerStatus) -> String {
    peer.view.name.clone().unwrap_or_else(|| peer.view.public_key.to_string())
}

fn i64_of(count: u64) -> i64 {
    i64::try_from(count).unwrap_or(i64::MAX)
}

#[cfg(test)]
mod tests {
    use std::collections::BTreeSet;

    use super::super::overview::tests::glanced;
    use super::*;

    fn kept() -> StatusView {
        let history =
            HistoryView { applies: 2, drifts: 3, last_sync_secs_ago: Some(4), ..HistoryView::default() };
        let web = ServiceView {
            name: "web".into(),
            domain: 1,
            state: ServiceState::Late,
            pid: Some(7),
            restarts: 2,
            status: None,
        };
        glanced().kept_by(1, vec![], history).running(vec![web])
    }

    const WG1: &str = r#"network="domains",domain="1",domain_name="rdom1",interface="wg1""#;

    #[test]
    fn a_service_is_in_one_state_of_all() {
        let text = metrics(&kept()).unwrap();
        let web = r#"network="domains",domain="1",domain_name="rdom1",service="web""#;
        let states = text.lines().filter(|line| line.starts_with("rdom_service_state{"));
        let (is, is_not): (Vec<_>, Vec<_>) = states.partition(|line| line.ends_with(" 1"));
        assert_eq!(is, [format!("rdom_service_state{{{web},state=\"late\"}} 1")]);
        assert_eq!(is_not.len(), ServiceState::ALL.len() - 1, "{text}");
        let restarts = format!("rdom_service_restarts_total{{{web}}} 2");
        assert!(text.lines().any(|line| line == restarts), "{text}");
    }

    #[test]
    fn a_peer_is_a_label_by_name() {
        let text = metrics(&kept()).unwrap();
        for line in [
            format!("rdom_peer_received_bytes_total{{{WG1},peer=\"wg2\"}} 380"),
            format!("rdom_peer_handshake_age_seconds{{{WG1},peer=\"wg2\"}} 3"),
            format!("rdom_tunnel_socket_in_underlay{{{WG1}}} 1"),
            format!("rdom_tunnel_offloads_off{{{WG1}}} 0"),
            format!("rdom_interface_up{{{WG1}}} 1"),
            "rdom_applies_total{network=\"domains\"} 2".to_owned(),
            "rdom_applies_refused_total{network=\"domains\"} 0".to_owned(),
            "rdom_drifts_total{network=\"domains\"} 3".to_owned(),
            "rdom_sync_age_seconds{network=\"domains\"} 4".to_owned(),
            "rdom_unconfirmed{network=\"domains\"} 0".to_owned(),
        ] {
            assert!(text.lines().any(|found| found == line), "{line}\n{text}");
        }
        assert!(!text.contains("127.0.0.1"), "{text}");
    }

    /// OpenMetrics 1.0: a family is told in one piece, type, unit and help before its samples; a counter's end in
    /// `_total`; a unit ends the family's name; no sample is told twice; the last line is `# EOF`.
    #[test]
    fn it_conforms_to_openmetrics() {
        let text = metrics(&kept()).unwrap();
        assert!(text.ends_with("# EOF\n") && text.matches("# EOF").count() == 1);
        let (mut families, mut samples, mut family) = (BTreeSet::new(), BTreeSet::new(), ("", ""));
        for line in text.lines().filter(|line| *line != "# EOF") {
            let words: Vec<_> = line.splitn(4, ' ').collect();
            match words[..] {
                ["#", "TYPE", name, kind] => {
                    assert!(families.insert(name), "{name} is told twice");
                    family = (name, kind);
                }
                ["#", "HELP", name, _] => assert!(name == family.0 || !families.contains(name), "{line}"),
                ["#", "UNIT", name, unit] => assert!(name == family.0 && name.ends_with(unit), "{line}"),
                _ => {
                    let (name, rest) = line.split_once('{').expect(line);
                    let (labels, value) = rest.rsplit_once("} ").expect(line);
                    let suffix = if family.1 == "counter" { "_total" } else { "" };
                    assert_eq!(name, format!("{}{suffix}", family.0), "{line}");
                    assert!(value.parse::<f64>().is_ok_and(f64::is_finite), "{line}");
                    assert!(samples.insert((name, labels)), "{line} is told twice");
                }
            }
        }
        assert!(families.len() >= 12, "{families:?}");
    }
}
