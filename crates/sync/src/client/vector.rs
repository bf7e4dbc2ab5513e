//! Conformance vectors: files of calls with what the machine answers, which every binding must reproduce.
//!
//! The steps are written by hand in `crates/sync/vectors`, the expectations by `cargo xtask gen`, and a person reviews
//! the difference. Law: a vector says all that the machine says; nothing is left out of an expectation. Where the
//! machine gives JSON text (a request's body, a record's text), the vector holds the document, so that it can be read.

use serde::{Deserialize, Serialize};
use serde_json::Value;

use super::face::Face;

/// The version of the form of vectors.
const VECTOR_FORMAT: u32 = 1;

/// A file: scenarios about one theme.
#[derive(Clone, Debug, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Vector {
    /// The version of the form.
    pub format: u32,
    /// What the scenarios are about.
    pub theme: String,
    /// Steps that come before those of each scenario.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub begin: Vec<Step>,
    /// Each starts from nothing.
    pub scenarios: Vec<Scenario>,
}

/// What happens to one client, from its start.
#[derive(Clone, Debug, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Scenario {
    /// What it shows, with the requirement's or hazard's id.
    pub claim: String,
    /// What happens, in order.
    pub steps: Vec<Step>,
}

/// One call and its answer.
#[derive(Clone, Debug, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Step {
    /// Why it is there, for readers.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub why: Option<String>,
    /// The call.
    pub call: Value,
    /// The answer.
    #[serde(default)]
    pub expect: Value,
}

impl Vector {
    /// Reads a file.
    ///
    /// # Errors
    /// Says what is wrong with its form.
    pub fn read(text: &str) -> Result<Vector, String> {
        let vector: Vector = serde_json::from_str(text).map_err(|error| error.to_string())?;
        match vector.format {
            VECTOR_FORMAT => Ok(vector),
            other => Err(format!("a vector of format {other}, and {VECTOR_FORMAT} is known")),
        }
    }

    /// Returns it with what the machine answers in the place of what was expected.
    #[must_use]
    pub fn filled(mut self) -> Vector {
        let begin = self.begin.clone();
        for scenario in &mut self.scenarios {
            let mut face = Face::default();
            self.begin = begin.iter().map(|step| answered(&mut face, step)).collect();
            scenario.steps = scenario.steps.iter().map(|step| answered(&mut face, step)).collect();
        }
        self
    }

    /// Returns the file's text: a line for each call and for each output, so that a difference can be reviewed.
    pub fn write(&self) -> String {
        let mut text = format!("{{\n\"format\": {},\n\"theme\": {},\n", self.format, Value::from(&*self.theme));
        steps(&mut text, "begin", &self.begin);
        text.push_str(",\n\"scenarios\": [");
        for (number, scenario) in self.scenarios.iter().enumerate() {
            text.push_str(if number == 0 { "\n" } else { ",\n" });
            text.push_str(&format!("{{\"claim\": {},\n", Value::from(&*scenario.claim)));
            steps(&mut text, "steps", &scenario.steps);
            text.push('}');
        }
        text + "\n]\n}\n"
    }
}

fn steps(text: &mut String, name: &str, steps: &[Step]) {
    text.push_str(&format!("\"{name}\": ["));
    for (number, step) in steps.iter().enumerate() {
        text.push_str(if number == 0 { "\n  {" } else { ",\n  {" });
        if let Some(why) = &step.why {
            text.push_str(&format!("\"why\": {},\n   ", Value::from(&**why)));
        }
        text.push_str(&format!("\"call\": {},\n   \"expect\": ", step.call));
        expectation(text, &step.expect);
        text.push('}');
    }
    text.push(']');
}

fn expectation(text: &mut String, expect: &Value) {
    let outputs = expect.get("outputs").and_then(Value::as_array).filter(|outputs| !outputs.is_empty());
    let (Some(outputs), Some(result), Some(wake)) = (outputs, expect.get("result"), expect.get("wakeAtMs")) else {
        return text.push_str(&expect.to_string());
    };
    text.push_str(&format!("{{\"result\": {result}, \"wakeAtMs\": {wake}, \"outputs\": ["));
    for (number, output) in outputs.iter().enumerate() {
        text.push_str(if number == 0 { "\n     " } else { ",\n     " });
        text.push_str(&output.to_string());
    }
    text.push_str("]}");
}

fn answered(face: &mut Face, step: &Step) -> Step {
    let answer: Value = serde_json::from_str(&face.call(&step.call.to_string())).unwrap_or_default();
    Step { expect: legible(answer), ..step.clone() }
}

/// Puts the document in the place of its text, in requests and saves.
fn legible(mut answer: Value) -> Value {
    for output in answer.get_mut("outputs").and_then(Value::as_array_mut).into_iter().flatten() {
        if let Some(body) = output.pointer_mut("/request/body") {
            *body = document(body);
        }
        for write in output.get_mut("writes").and_then(Value::as_array_mut).into_iter().flatten() {
            if let Some(text) = write.pointer_mut("/put/1") {
                *text = document(text);
            }
        }
    }
    answer
}

fn document(text: &Value) -> Value {
    let read = text.as_str().and_then(|text| serde_json::from_str(text).ok());
    read.unwrap_or_else(|| text.clone())
}
