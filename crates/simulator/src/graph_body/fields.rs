//! An object of a call, and what is required of its fields. A refusal names the first that is
//! wrong, as the platform does.

use serde_json::Value;

use crate::codes::Refusal;

/// An object, and where it stands.
#[derive(Clone, Debug)]
pub(super) struct Object<'a> {
    value: &'a Value,
    name: String,
}

/// A value that is not valid.
pub(super) fn wrong(name: &str) -> Refusal {
    refuse(name, "is not valid")
}

pub(super) fn refuse(name: &str, what: &str) -> Refusal {
    Refusal::new(131_009, format!("{name} {what}"))
}

impl<'a> Object<'a> {
    pub(super) fn new(value: &'a Value, name: impl Into<String>) -> Self {
        let name = name.into();
        Self { value, name }
    }

    pub(super) fn name(&self, key: &str) -> String {
        if self.name.is_empty() {
            key.to_owned()
        } else {
            format!("{}.{key}", self.name)
        }
    }

    pub(super) fn value(&self, key: &str) -> Option<&'a Value> {
        self.value.get(key)
    }

    pub(super) fn has(&self, key: &str) -> bool {
        self.value(key).is_some()
    }

    fn missing(&self, key: &str) -> Refusal {
        let name = self.name(key);
        Refusal::new(131_008, format!("the parameter {name} is required"))
    }

    pub(super) fn child(&self, key: &str) -> Result<Self, Refusal> {
        let value = self.value(key).ok_or_else(|| self.missing(key))?;
        if value.is_object() {
            Ok(Self::new(value, self.name(key)))
        } else {
            Err(wrong(&self.name(key)))
        }
    }

    /// The objects of a list; none if it is not there.
    pub(super) fn list(&self, key: &str) -> Result<Vec<Self>, Refusal> {
        let Some(value) = self.value(key) else {
            return Ok(Vec::new());
        };
        let name = self.name(key);
        let items = value.as_array().ok_or_else(|| wrong(&name))?;
        items
            .iter()
            .enumerate()
            .map(|(index, item)| {
                let name = format!("{name}[{index}]");
                if item.is_object() {
                    Ok(Self::new(item, name))
                } else {
                    Err(wrong(&name))
                }
            })
            .collect()
    }

    /// The objects of a list of so many.
    pub(super) fn list_of(
        &self,
        key: &str,
        least: usize,
        most: usize,
    ) -> Result<Vec<Self>, Refusal> {
        let items = self.list(key)?;
        if items.is_empty() && least > 0 {
            return Err(self.missing(key));
        }
        if (least..=most).contains(&items.len()) {
            Ok(items)
        } else {
            let what = format!("must have {least} to {most} items");
            Err(refuse(&self.name(key), &what))
        }
    }

    /// A text that has to be there.
    pub(super) fn text(&self, key: &str, chars_max: usize) -> Result<&'a str, Refusal> {
        let value = self.value(key).ok_or_else(|| self.missing(key))?;
        match value.as_str() {
            None | Some("") => Err(wrong(&self.name(key))),
            Some(text) if text.chars().count() > chars_max => {
                let what = format!("length invalid: at most {chars_max} characters");
                Err(refuse(&self.name(key), &what))
            }
            Some(text) => Ok(text),
        }
    }

    /// A text that may be left out, but not be empty.
    pub(super) fn optional(&self, key: &str, chars_max: usize) -> Result<(), Refusal> {
        if self.has(key) {
            self.text(key, chars_max)?;
        }
        Ok(())
    }

    pub(super) fn web_address(&self, key: &str) -> Result<(), Refusal> {
        let text = self.text(key, usize::MAX)?;
        let is_one = text.starts_with("http://") || text.starts_with("https://");
        if is_one {
            Ok(())
        } else {
            Err(wrong(&self.name(key)))
        }
    }

    /// Whether it has nothing that it may not have.
    pub(super) fn only(&self, allowed: &[(&str, bool)]) -> Result<(), Refusal> {
        let keys = self.value.as_object().into_iter().flat_map(|it| it.keys());
        for key in keys {
            if !allowed
                .iter()
                .any(|(known, is_fine)| known == key && *is_fine)
            {
                let name = self.name(key);
                return Err(Refusal::new(100, format!("unexpected key {name}")));
            }
        }
        Ok(())
    }
}
