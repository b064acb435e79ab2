//! JSON Schema (draft 2020-12) of the documents that programs read, made of the types that write them.
//!
//! A key that is there today stays; new ones may be added.

use std::collections::BTreeMap;

use schemars::{Schema, schema_for};

use super::event::EventView;
use super::interface::InterfaceView;
use super::overview::{StatusView, TunnelStatus};
use super::plan::PlanView;

/// The documents, and who prints them.
pub const DOCUMENTS: [(&str, &str); 5] = [
    ("event", "each line of GET /v1/events on the control socket"),
    ("ifconfig", "rdom ifconfig --json"),
    ("plan", "rdom plan --json"),
    ("status", "rdom status --json; GET /v1/status on the control socket"),
    ("wg", "rdom wg show --json"),
];

/// The schema of the document of this name.
pub fn schema(document: &str) -> Option<Schema> {
    Some(match document {
        "event" => schema_for!(EventView),
        "ifconfig" => schema_for!(Vec<InterfaceView>),
        "plan" => schema_for!(PlanView),
        "status" => schema_for!(StatusView),
        "wg" => schema_for!(BTreeMap<String, TunnelStatus>),
        _ => return None,
    })
}

#[cfg(test)]
mod tests {
    use serde_json::{Value, json};

    use super::super::overview::HistoryView;
    use super::super::overview::tests::glanced;
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
        for (name, document) in
            [("status", serde_json::to_value(&view).unwrap()), ("wg", serde_json::to_value(&shown).unwrap())]
        {
            let schema = serde_json::to_value(schema(name).unwrap()).unwrap();
            assert_eq!(faults(&document, &schema, &schema, ""), [""; 0], "{name}: {schema:#}");
            let strange = json!({"network": 7, "more": true});
            assert!(!faults(&strange, &schema, &schema, "").is_empty(), "{name} takes anything");
        }
    }

    #[test]
    fn every_document_has_a_schema_and_no_other_has() {
        assert!(DOCUMENTS.iter().all(|(name, _)| schema(name).is_some()));
        assert!(schema("nothing").is_none());
    }

    /// A change of this snapshot is a change of what programs rely on: keys may be added, never taken away.
    #[test]
    fn the_keys_of_status_stay() {
        let schema = serde_json::to_value(schema("status").unwrap()).unwrap();
        let keys =
            |of: &Value| of["properties"].as_object().unwrap().keys().cloned().collect::<Vec<_>>().join(" ");
        let definitions = schema["$defs"].as_object().unwrap();
        let parts = definitions.iter().filter(|(_, part)| part["properties"].is_object());
        let parts: Vec<_> = parts.map(|(name, part)| format!("{name}: {}", keys(part))).collect();
        insta::assert_snapshot!(format!("{}\n{}", keys(&schema), parts.join("\n")), @r"
        differs domains engine_reason goes_back_in_secs history impaired network supervisor
        Counters: rx_bytes rx_dropped rx_errors rx_packets tx_bytes tx_dropped tx_errors tx_packets
        DomainStatus: domain interfaces isolation name
        HappeningView: secs_ago what
        HistoryView: applies applies_refused drifts last_apply last_drift last_sync_secs_ago
        InterfaceStatus: addresses counters kind name state tunnel
        PeerStatus: allowed_ips endpoint endpoint_name has_preshared_key health last_handshake_secs_ago name persistent_keepalive_secs public_key rx_bytes tx_bytes
        TunnelStatus: engine fwmark listen_port peers public_key sockets_in underlay
        ");
    }
}
