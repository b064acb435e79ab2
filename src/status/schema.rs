//! JSON Schema (draft 2020-12) of the documents that programs read, made of the types that write them.
//!
//! A key that is there today stays; new ones may be added.

use std::collections::BTreeMap;

use schemars::{Schema, schema_for};

use super::event::EventView;
use super::interface::InterfaceView;
use super::overview::{StatusView, TunnelStatus};
use super::plan::{AppliedView, PlanView};
use super::verdict::FileReport;

/// The documents, and who prints them.
pub const DOCUMENTS: [(&str, &str); 7] = [
    ("applied", "POST /v1/apply on the control socket"),
    ("event", "each line of GET /v1/events on the control socket"),
    ("ifconfig", "rdom ifconfig --json"),
    ("plan", "rdom plan --json"),
    ("status", "rdom status --json; GET /v1/status on the control socket"),
    ("test", "rdom test --json"),
    ("wg", "rdom wg show --json"),
];

/// The schema of the document of this name.
pub fn schema(document: &str) -> Option<Schema> {
    Some(match document {
        "applied" => schema_for!(AppliedView),
        "event" => schema_for!(EventView),
        "ifconfig" => schema_for!(Vec<InterfaceView>),
        "plan" => schema_for!(PlanView),
        "status" => schema_for!(StatusView),
        "test" => schema_for!(Vec<FileReport>),
        "wg" => schema_for!(BTreeMap<String, TunnelStatus>),
        _ => return None,
    })
}

#[cfg(test)]
mod tests {
    use serde_json::{Value, json};

    use super::super::evidence::tests::evidence;
    use super::super::overview::HistoryView;
    use super::super::overview::tests::glanced;
    use super::super::verdict::{Kept, Verdict};
    use super::super::wg::WgShow;
    use super::*;

    /// What of a value its schema does not know, or misses; of the words of JSON Schema those that are used here.
    fn faults(value: &Value, schema: &Value, root: &Value, at: &str) -> Vec<String> {
        if let Some(name) = schema["$ref"].as_str() {
            let place = name.strip_prefix('#').unwrap();
            return faults(value, root.pointer(place).unwrap(), root, at);
        }
        if let Some(choices) = schema["anyOf"].as_array().or_else(|| schema["oneOf"].as_array()) {
            let fits = choices.iter().any(|choice| faults(value, choice, root, at).is_empty());
            return if fits { vec![] } else { vec![format!("{at}: none of {choices:?}")] };
        }
        let kind = match value {
            Value::Null => "null",
            Value::Bool(_) => "boolean",
            Value::Number(number) if number.is_f64() => "number",
            Value::Number(_) => "integer",
            Value::String(_) => "string",
            Value::Array(_) => "array",
            Value::Object(_) => "object",
        };
        let kinds = &schema["type"];
        let fits = kinds == kind || kinds.as_array().is_some_and(|kinds| kinds.contains(&json!(kind)));
        let mut found =
            if fits || kinds.is_null() { vec![] } else { vec![format!("{at}: {kind}, not {kinds}")] };
        if let Some(constant) = schema.get("const").filter(|constant| *constant != value) {
            found.push(format!("{at}: not {constant}"));
        }
        for (number, item) in value.as_array().into_iter().flatten().enumerate() {
            found.extend(faults(item, &schema["items"], root, &format!("{at}/{number}")));
        }
        let Some(object) = value.as_object() else { return found };
        for (key, item) in object {
            let known = schema["properties"].get(key).or_else(|| schema.get("additionalProperties"));
            match known {
                Some(known) => found.extend(faults(item, known, root, &format!("{at}/{key}"))),
                None => found.push(format!("{at}/{key}: unknown")),
            }
        }
        for key in schema["required"].as_array().into_iter().flatten() {
            if !object.contains_key(key.as_str().unwrap()) {
                found.push(format!("{at}/{key}: missing"));
            }
        }
        found
    }

    #[test]
    fn documents_are_as_their_schemas_say() {
        let view = glanced().kept_by(1, vec!["add".into()], HistoryView::default());
        let shown = WgShow::of(&view, None);
        let documents = [
            ("status", serde_json::to_value(&view).unwrap()),
            ("test", serde_json::to_value([report()]).unwrap()),
            ("wg", serde_json::to_value(&shown).unwrap()),
        ];
        for (name, document) in documents {
            let schema = serde_json::to_value(schema(name).unwrap()).unwrap();
            assert_eq!(faults(&document, &schema, &schema, ""), [""; 0], "{name}: {schema:#}");
            let strange = json!([{"network": 7, "more": true}]);
            assert!(!faults(&strange, &schema, &schema, "").is_empty(), "{name} takes anything");
        }
    }

    /// What came of a file, with something of everything.
    fn report() -> FileReport {
        let verdict = Verdict {
            number: 0,
            domain: Some(1),
            name: "a".into(),
            asserted: "ping 192.0.2.1".into(),
            duration_secs: 0.5,
            failure: Some("no answer".into()),
            evidence: Some(Box::new(evidence())),
            capture: Some("a.pcapng".into()),
            line: 3,
        };
        let kept = Kept { enter: "nsenter".into(), end: "kill".into() };
        let verdicts = vec![verdict];
        FileReport { verdicts, kept: Some(kept), duration_secs: 1.5, ..FileReport::new("a.yaml", Some(2), 1) }
    }

    #[test]
    fn every_document_has_a_schema_and_no_other_has() {
        assert!(DOCUMENTS.iter().all(|(name, _)| schema(name).is_some()));
        assert!(schema("nothing").is_none());
    }

    /// A change of this snapshot is a change of what programs rely on: keys may be added, never taken away.
    #[test]
    fn the_keys_of_status_stay() {
        insta::assert_snapshot!(keys_of("status"), @r"
        differs domains engine_reason goes_back_in_secs history impaired network services supervisor
        Counters: rx_bytes rx_dropped rx_errors rx_packets tx_bytes tx_dropped tx_errors tx_packets
        DomainStatus: domain interfaces isolation name
        HappeningView: secs_ago what
        HistoryView: applies applies_refused drifts last_apply last_drift last_sync_secs_ago
        InterfaceStatus: addresses counters kind name state tunnel
        PeerStatus: allowed_ips endpoint endpoint_name has_preshared_key health last_handshake_secs_ago name persistent_keepalive_secs public_key rx_bytes tx_bytes
        ServiceView: domain name pid restarts state status
        TunnelStatus: engine fwmark listen_port offloads_off peers public_key sockets_in underlay
        ");
    }

    /// The keys of a document and of its parts.
    fn keys_of(document: &str) -> String {
        let schema = serde_json::to_value(schema(document).unwrap()).unwrap();
        let keys = |of: &Value| {
            let properties = of["properties"].as_object().into_iter().flatten();
            properties.map(|(key, _)| key.as_str()).collect::<Vec<_>>().join(" ")
        };
        let definitions = schema["$defs"].as_object().unwrap();
        let parts = definitions.iter().filter(|(_, part)| part["properties"].is_object());
        let parts: Vec<_> = parts.map(|(name, part)| format!("{name}: {}", keys(part))).collect();
        format!("{}\n{}", keys(&schema), parts.join("\n")).trim_start().to_owned()
    }

    /// Likewise.
    #[test]
    fn the_keys_of_test_stay() {
        insta::assert_snapshot!(keys_of("test"), @r"
        Evidence: interfaces port routes rules services sockets tunnels way
        FileReport: duration_secs file kept run status tests trouble verdicts
        Kept: end enter
        Lookup: domain found is_stopped to
        PeerStatus: allowed_ips endpoint endpoint_name has_preshared_key health last_handshake_secs_ago name persistent_keepalive_secs public_key rx_bytes tx_bytes
        RouteGet: domain if_address route route_to
        RouteRow: dev flags gateway metric mtu mtu_locked priority protocol src to type via
        RouteTable: domain routes
        RuleTable: domain rules
        RuleView: action priority selector
        ServiceEvidence: domain log name pid restarts state status
        SocketTable: domain sockets
        SocketView: dev local protocol receive_queue send_queue
        TunnelStatus: engine fwmark listen_port offloads_off peers public_key sockets_in underlay
        Verdict: asserted capture domain duration_secs evidence failure line name number
        ");
    }
}
