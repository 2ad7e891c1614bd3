//! Plans, for people.

use std::fmt;

use super::{Fault, Plan, Planted, What};

impl fmt::Display for Plan {
    fn fmt(&self, out: &mut fmt::Formatter<'_>) -> fmt::Result {
        let lease = if self.has_lease { "with" } else { "without" };
        let sms = if self.has_sms { "with" } else { "without" };
        writeln!(
            out,
            "customers: {}, trackers: {}, dispatchers: {} {lease} a lease, {sms} SMS, \
             audit-projectors: {}",
            self.customers, self.trackers, self.dispatchers, self.projectors
        )?;
        if self.planted != Planted::Nothing {
            writeln!(out, "planted: {:?}", self.planted)?;
        }
        for deed in &self.deeds {
            writeln!(
                out,
                "deed {} at {:.3} s: {}",
                deed.number,
                deed.at.as_secs_f64(),
                deed.what
            )?;
        }
        self.faults
            .iter()
            .try_for_each(|(number, fault)| writeln!(out, "fault {number}: {fault}"))
    }
}

impl fmt::Display for What {
    fn fmt(&self, out: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Write { customer, ago } => {
                write!(out, "customer {customer} wrote, {ago:#} before")
            }
            Self::Send {
                customer,
                template,
                ttl,
                again,
            } => {
                let or = if *template { ", or a template" } else { "" };
                let twice = if *again { ", asked for twice" } else { "" };
                write!(
                    out,
                    "send to customer {customer}{or}, within {ttl:#}{twice}"
                )
            }
            Self::Jump(by) => write!(out, "clocks jump ahead by {by:#}"),
            Self::Rebuild => write!(out, "read models are to be made anew"),
        }
    }
}

impl fmt::Display for Fault {
    fn fmt(&self, out: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Log {
                process,
                operation,
                nth,
                mishap,
            } => write!(out, "{process}, {operation:?} {nth}: {mishap:?}"),
            Self::Store {
                process,
                call,
                nth,
                mishap,
            } => write!(out, "{process}, database, {call:?} {nth}: {mishap:?}"),
            Self::Call { nth, mishap } => write!(out, "call {nth}: {mishap:?}"),
            Self::Report { nth, mishap } => write!(out, "reports of call {nth}: {mishap:?}"),
        }
    }
}
