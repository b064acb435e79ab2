//! The text of `rdom status`: 80 columns for what people usually have, aligned over the whole network, and colour
//! where the caller has a terminal.

use std::fmt;

use super::interval::short;
use super::overview::{
    DomainStatus, HappeningView, HistoryView, InterfaceStatus, PeerStatus, StatusView, TunnelStatus,
};
use super::service::{ServiceState, ServiceView};
use super::tunnel::Health;

/// More of addresses than this goes onto lines of its own, in columns.
const ADDRESSES_IN_LINE: usize = 30;

/// A status as text.
#[derive(Debug)]
pub struct Glance<'v> {
    view: &'v StatusView,
    tint: Tint,
}

/// Whether text has colours.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Tint {
    /// For pipes and files.
    Plain,
    /// For a terminal (ECMA-48, SGR).
    Coloured,
}

/// What a word wants to be noticed as.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Tone {
    Usual,
    Heading,
    Good,
    Odd,
    Bad,
}

/// A word of a table.
#[derive(Clone, Debug)]
struct Cell {
    text: String,
    tone: Tone,
}

/// A line: of a table, or one of its own.
enum Line {
    Cells(Vec<Cell>),
    Alone(Cell),
}

impl fmt::Display for StatusView {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        Glance::new(self, Tint::Plain).fmt(f)
    }
}

impl<'v> Glance<'v> {
    /// This status, so painted.
    pub fn new(view: &'v StatusView, tint: Tint) -> Self {
        Self { view, tint }
    }

    fn painted(&self, text: &str, tone: Tone) -> String {
        let code = match (self.tint, tone) {
            (Tint::Plain, _) | (Tint::Coloured, Tone::Usual) => return text.to_owned(),
            (Tint::Coloured, Tone::Heading) => "1",
            (Tint::Coloured, Tone::Good) => "32",
            (Tint::Coloured, Tone::Odd) => "33",
            (Tint::Coloured, Tone::Bad) => "31",
        };
        format!("\x1b[{code}m{text}\x1b[0m")
    }

    /// Columns as wide as their widest cell, two spaces apart and in, no trailing space.
    fn write(&self, f: &mut fmt::Formatter<'_>, lines: &[Line]) -> fmt::Result {
        let tables: Vec<&Vec<Cell>> = lines.iter().filter_map(Line::cells).collect();
        let columns = tables.iter().map(|cells| cells.len()).max().unwrap_or(0);
        let width =
            |column| tables.iter().filter_map(|cells| cells.get(column)).map(Cell::width).max().unwrap_or(0);
        let widths: Vec<usize> = (0..columns).map(width).collect();
        for line in lines {
            match line {
                Line::Alone(cell) => writeln!(f, "{}", self.painted(&cell.text, cell.tone))?,
                Line::Cells(cells) => writeln!(f, "{}", self.row(cells, &widths).trim_end())?,
            }
        }
        Ok(())
    }

    fn row(&self, cells: &[Cell], widths: &[usize]) -> String {
        let mut row = String::new();
        for (cell, width) in cells.iter().zip(widths) {
            let gap = " ".repeat(width - cell.width());
            row += &format!("  {}{gap}", self.painted(&cell.text, cell.tone));
        }
        row
    }
}

impl fmt::Display for Glance<'_> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let view = self.view;
        match view.supervisor {
            Some(pid) => writeln!(f, "network {}, kept by process {pid}\n", view.network)?,
            None => {
                let gone = self.painted("nobody keeps it", Tone::Bad);
                writeln!(f, "network {}, {gone}\n", view.network)?;
            }
        }
        if let Some(secs) = view.goes_back_in_secs {
            let text = format!(
                "not confirmed: it goes back in {secs}s, unless you type: rdom confirm -n {}",
                view.network
            );
            writeln!(f, "{}\n", self.painted(&text, Tone::Odd))?;
        }
        let history: Vec<_> = view.history.iter().flat_map(history_lines).collect();
        if !history.is_empty() {
            self.write(f, &history)?;
            writeln!(f)?;
        }
        self.write(f, &domain_lines(&view.domains))?;
        let tunnels: Vec<_> =
            view.tunnels().flat_map(|(domain, at, it)| tunnel_lines(domain, at, it)).collect();
        if !tunnels.is_empty() {
            writeln!(f)?;
            self.write(f, &tunnels)?;
            writeln!(f, "\nengine: {}", view.engine_reason)?;
        }
        if !view.services.is_empty() {
            writeln!(f)?;
            self.write(f, &service_lines(&view.services))?;
        }
        if !view.impaired.is_empty() {
            let heading = "impaired until the next apply:";
            writeln!(f, "\n{}", self.painted(heading, Tone::Odd))?;
            view.impaired.iter().try_for_each(|end| writeln!(f, "  {end}"))?;
        }
        if !view.differs.is_empty() {
            writeln!(f, "\n{}", self.painted("not as asked for; missing are:", Tone::Bad))?;
            view.differs.iter().try_for_each(|step| writeln!(f, "  {step}"))?;
        }
        Ok(())
    }
}

fn history_lines(history: &HistoryView) -> Vec<Line> {
    let line = |what: &str, happening: &HappeningView, count: u64| {
        let ago = format!("{} ago", short(happening.secs_ago));
        let text = format!("{} ({count} in all)", happening.what);
        Line::Cells([what.to_owned(), ago, text].map(Cell::usual).to_vec())
    };
    let applies = history.applies + history.applies_refused;
    let apply = history.last_apply.iter().map(|last| line("last apply", last, applies));
    let drift = history.last_drift.iter().map(|last| line("last drift", last, history.drifts));
    apply.chain(drift).collect()
}

fn domain_lines(domains: &[DomainStatus]) -> Vec<Line> {
    let mut lines = vec![heading(&["INTERFACE", "KIND", "STATE", "RECEIVED", "SENT", "ADDRESSES"])];
    for domain in domains {
        let isolation = domain.isolation.iter().map(|word| format!(" ({word})"));
        let title = format!("{} {}{}", domain.domain, domain.name, isolation.collect::<String>());
        lines.push(Line::Alone(Cell { text: title, tone: Tone::Heading }));
        lines.extend(domain.interfaces.iter().flat_map(interface_lines));
    }
    lines
}

fn interface_lines(interface: &InterfaceStatus) -> Vec<Line> {
    let joined = interface.addresses.join(" ");
    let addresses = if joined.len() > ADDRESSES_IN_LINE { interface.addresses.clone() } else { vec![joined] };
    let counters = &interface.counters;
    let state = match interface.state.as_str() {
        "up" => Tone::Good,
        "down" => Tone::Bad,
        _ => Tone::Odd,
    };
    let own = vec![
        Cell::usual(&interface.name),
        Cell::usual(&interface.kind),
        Cell { text: interface.state.clone(), tone: state },
        Cell::usual(bytes(counters.rx_bytes)),
        Cell::usual(bytes(counters.tx_bytes)),
    ];
    let below = vec![Cell::usual(""); own.len()];
    let line = |(number, address): (usize, &String)| {
        let mut cells = if number == 0 { own.clone() } else { below.clone() };
        cells.push(Cell::usual(address));
        Line::Cells(cells)
    };
    addresses.iter().enumerate().map(line).collect()
}

fn tunnel_lines(domain: &DomainStatus, interface: &InterfaceStatus, tunnel: &TunnelStatus) -> Vec<Line> {
    let at = format!("{}/{}", domain.domain, interface.name);
    let placed = match (tunnel.sockets_in.as_slice(), tunnel.has_socket_in_underlay()) {
        (_, true) => format!("socket in domain {} (verified)", tunnel.underlay),
        ([], false) => format!("no socket, should be in domain {}", tunnel.underlay),
        (others, false) => {
            let others: Vec<_> = others.iter().map(u32::to_string).collect();
            format!("socket in domain {}, should be in {}", others.join(", "), tunnel.underlay)
        }
    };
    let tone = if tunnel.has_socket_in_underlay() { Tone::Heading } else { Tone::Bad };
    let text = format!("{at}: {} engine, UDP port {}, {placed}", tunnel.engine, tunnel.listen_port);
    let mut lines = vec![Line::Alone(Cell { text, tone })];
    if !tunnel.offloads_off.is_empty() {
        let text = format!("without {}", tunnel.offloads_off.join(", "));
        lines.push(Line::Cells(vec![Cell { text, tone: Tone::Odd }]));
    }
    match tunnel.peers.as_slice() {
        [] => lines.push(Line::Cells(vec![Cell::usual("no peers")])),
        peers => {
            lines.push(heading(&["PEER", "HEALTH", "HANDSHAKE", "RECEIVED", "SENT", "ENDPOINT"]));
            lines.extend(peers.iter().map(peer_line));
        }
    }
    lines
}

fn service_lines(services: &[ServiceView]) -> Vec<Line> {
    let line = |service: &ServiceView| {
        let tone = match service.state {
            ServiceState::Ready | ServiceState::Done => Tone::Good,
            ServiceState::Waiting | ServiceState::Starting | ServiceState::Restarting => Tone::Odd,
            ServiceState::Stopping => Tone::Odd,
            ServiceState::Late | ServiceState::Failed | ServiceState::Killed => Tone::Bad,
        };
        Line::Cells(vec![
            Cell::usual(&service.name),
            Cell::usual(service.domain.to_string()),
            Cell { text: service.state.to_string(), tone },
            Cell::usual(service.pid.map_or_else(|| "-".to_owned(), |pid| pid.to_string())),
            Cell::usual(service.restarts.to_string()),
        ])
    };
    let head = heading(&["SERVICE", "DOMAIN", "STATE", "PID", "RESTARTS"]);
    std::iter::once(head).chain(services.iter().map(line)).collect()
}

fn peer_line(peer: &PeerStatus) -> Line {
    let view = &peer.view;
    let age = view.last_handshake_secs_ago.map(short);
    let (health, tone) = match (peer.health, &age) {
        (Health::Up, _) => ("up".to_owned(), Tone::Good),
        (Health::Never, _) => ("never".to_owned(), Tone::Bad),
        (Health::Stale, Some(age)) => (format!("stale {age}"), Tone::Odd),
        (Health::Stale, None) => ("stale".to_owned(), Tone::Odd),
    };
    let key = || abbreviated(&view.public_key.to_string());
    Line::Cells(vec![
        Cell::usual(view.name.clone().unwrap_or_else(key)),
        Cell { text: health, tone },
        Cell::usual(age.map_or_else(|| "-".to_owned(), |age| format!("{age} ago"))),
        Cell::usual(bytes(view.rx_bytes)),
        Cell::usual(bytes(view.tx_bytes)),
        Cell::usual(match (&view.endpoint, &view.endpoint_name) {
            (Some(endpoint), _) => endpoint.to_string(),
            (None, Some(name)) => format!("{name} (not resolved)"),
            (None, None) => "unknown".to_owned(),
        }),
    ])
}

/// A key that no file names: enough of it to tell it from others, in ASCII of base64.
fn abbreviated(key: &str) -> String {
    format!("{}..{}", &key[..6], &key[key.len() - 6..])
}

/// A number of bytes in the units of wg(8).
pub(super) fn bytes(count: u64) -> String {
    let units = ["KiB", "MiB", "GiB", "TiB"];
    let exponent = (count.max(1).ilog2() / 10).min(4);
    match exponent {
        0 => format!("{count} B"),
        _ => {
            let value = count as f64 / (1_u64 << (10 * exponent)) as f64;
            format!("{value:.2} {}", units[exponent as usize - 1])
        }
    }
}

fn heading(words: &[&str]) -> Line {
    Line::Cells(words.iter().map(|word| Cell::usual(*word)).collect())
}

impl Line {
    fn cells(&self) -> Option<&Vec<Cell>> {
        match self {
            Line::Cells(cells) => Some(cells),
            Line::Alone(_) => None,
        }
    }
}

impl Cell {
    fn usual(text: impl Into<String>) -> Self {
        Self { text: text.into(), tone: Tone::Usual }
    }

    fn width(&self) -> usize {
        self.text.chars().count()
    }
}

#[cfg(test)]
mod tests {
    use super::super::overview::tests::{glanced, reason};
    use super::*;

    #[test]
    fn a_network_at_a_glance() {
        insta::assert_snapshot!(glanced().kept_by(4711, vec![], HistoryView::default()), @r"
        network domains, kept by process 4711

          INTERFACE  KIND       STATE  RECEIVED  SENT  ADDRESSES
        0 default
        1 rdom1 (netns)
          lo         loopback   up     0 B       0 B   127.0.0.1/8 ::1/128
          wg1        wireguard  up     0 B       0 B   192.168.5.1/24

        1/wg1: userspace engine, UDP port 7111, socket in domain 0 (verified)
          PEER            HEALTH  HANDSHAKE  RECEIVED  SENT      ENDPOINT
          wg2             up      3s ago     380 B     1.50 MiB  127.0.0.1:7222
          AwMDAw..MDAwM=  never   -          0 B       0 B       unknown

        engine: userspace, for this kernel has no WireGuard driver
        ");
    }

    #[test]
    fn what_differs_and_who_is_gone_is_said() {
        let missing = vec!["add address 192.168.5.1/24 to 1/wg1".into()];
        let missing = glanced().kept_by(1, missing, HistoryView::default()).to_string();
        assert!(missing.ends_with("missing are:\n  add address 192.168.5.1/24 to 1/wg1\n"), "{missing}");
        assert!(glanced().to_string().starts_with("network domains, nobody keeps it\n"));
        assert!(
            !glanced().is_as_asked() && glanced().kept_by(1, vec![], HistoryView::default()).is_as_asked()
        );
    }

    #[test]
    fn what_engines_do_without_is_said() {
        let text = glanced().without(|at| vec![format!("{at}-tcp"), "udp-send".into()]).to_string();
        let below = "socket in domain 0 (verified)\n  without 1/wg1-tcp, udp-send\n  PEER";
        assert!(text.contains(below), "{text}");
    }

    #[test]
    fn what_is_impaired_is_said() {
        let text = glanced().impaired(vec!["1/a by loss 5%".into()]).to_string();
        assert!(text.ends_with("\nimpaired until the next apply:\n  1/a by loss 5%\n"), "{text}");
    }

    #[test]
    fn what_has_been_done_is_said() {
        let happening = |secs_ago, what: &str| Some(HappeningView { secs_ago, what: what.to_owned() });
        let history = HistoryView {
            applies: 1,
            last_apply: happening(180, "3 steps"),
            drifts: 2,
            last_drift: happening(5, "route 10.0.0.0/8 removed from domain 1; restored"),
            ..HistoryView::default()
        };
        let text = glanced().kept_by(4711, vec![], history).going_back_in(Some(42)).to_string();
        insta::assert_snapshot!(text.lines().take(7).collect::<Vec<_>>().join("\n"), @r"
        network domains, kept by process 4711

        not confirmed: it goes back in 42s, unless you type: rdom confirm -n domains

          last apply  3m ago  3 steps (1 in all)
          last drift  5s ago  route 10.0.0.0/8 removed from domain 1; restored (2 in all)
        ");
    }

    #[test]
    fn colours_change_no_column() {
        let view = glanced();
        let coloured = Glance::new(&view, Tint::Coloured).to_string();
        assert!(coloured.contains("\x1b[32mup\x1b[0m"), "{coloured:?}");
        let codes = ["\x1b[0m", "\x1b[1m", "\x1b[31m", "\x1b[32m", "\x1b[33m"];
        let bare = codes.iter().fold(coloured, |text, code| text.replace(code, ""));
        let lines = |text: &str| text.lines().map(|line| line.trim_end().to_owned()).collect::<Vec<_>>();
        assert_eq!(lines(&bare), lines(&view.to_string()));
    }

    #[test]
    fn it_fits_into_eighty_columns() {
        let text = glanced().kept_by(4711, vec![], HistoryView::default()).to_string();
        assert!(text.lines().all(|line| line.len() <= 80), "{text}");
        assert!(text.contains(reason()));
    }

    #[test]
    fn a_network_without_tunnels_has_no_table_of_them() {
        let mut view = glanced();
        view.domains.pop();
        assert!(!view.to_string().contains("PEER"), "{view}");
    }

    #[test]
    fn units_are_those_of_wg() {
        let texts = [0, 1023, 1024, 1 << 20, u64::MAX].map(bytes);
        assert_eq!(texts, ["0 B", "1023 B", "1.00 KiB", "1.00 MiB", "16777216.00 TiB"]);
    }
}
