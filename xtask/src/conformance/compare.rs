//! Two records, step by step and field by field.

use std::collections::BTreeSet;

use serde_json::Value;

/// Where they differ: a step in a line, and a line below it for each of the two.
pub fn records(simulator: &[Value], laboratory: &[Value]) -> Vec<String> {
    let mut differences = Vec::new();
    for at in 0..simulator.len().max(laboratory.len()) {
        let (Some(ours), Some(theirs)) = (simulator.get(at), laboratory.get(at)) else {
            differences.push(format!("        only one of the two has a step {}", at + 1));
            break;
        };
        let mut found = Vec::new();
        fields(&ours["seen"], &theirs["seen"], &mut Vec::new(), &mut found);
        if ours["step"] != theirs["step"] {
            found.push(lines("step", &ours["step"], &theirs["step"]));
        }
        if !found.is_empty() {
            differences.push(format!("        step {}: {}", at + 1, text(&ours["step"])));
            differences.append(&mut found);
        }
    }
    differences
}

fn fields(ours: &Value, theirs: &Value, place: &mut Vec<String>, found: &mut Vec<String>) {
    match (ours, theirs) {
        (Value::Object(a), Value::Object(b)) => {
            for key in a.keys().chain(b.keys()).collect::<BTreeSet<_>>() {
                place.push(key.clone());
                fields(&ours[key], &theirs[key], place, found);
                place.pop();
            }
        }
        _ if ours == theirs => {}
        _ => found.push(lines(&place.join(", "), ours, theirs)),
    }
}

fn lines(place: &str, ours: &Value, theirs: &Value) -> String {
    format!(
        "          {place}\n            simulator   {}\n            laboratory  {}",
        text(ours),
        text(theirs)
    )
}

fn text(value: &Value) -> String {
    match value {
        Value::Null => "-".to_owned(),
        Value::String(text) => text.clone(),
        other => other.to_string(),
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use serde_json::json;

    fn record(state: &str) -> Vec<Value> {
        vec![
            json!({"step": "connect 1", "seen": {"exit": 0, "paths": {"1": state}}}),
            json!({"step": "in the end", "seen": {}}),
        ]
    }

    #[test]
    fn the_same_is_the_same() {
        assert!(records(&record("active"), &record("active")).is_empty());
    }

    #[test]
    fn a_difference_has_its_step_and_its_place() {
        let differences = records(&record("active"), &record("failed"));
        assert_eq!(differences.len(), 2);
        assert!(differences[0].contains("step 1: connect 1"));
        for word in ["paths, 1", "simulator   active", "laboratory  failed"] {
            assert!(differences[1].contains(word), "{}", differences[1]);
        }
        assert!(!records(&record("active"), &record("active")[..1]).is_empty());
    }

    #[test]
    fn what_only_one_has_is_a_difference() {
        let mut longer = record("active");
        longer[1]["seen"]["sessions"] = json!(2);
        let differences = records(&record("active"), &longer);
        assert!(differences[1].contains("simulator   -") && differences[1].contains("laboratory  2"));
    }
}
