//! What can be said for or against an SMS.

use super::{Finding, Gone, Input, against, for_it};
use crate::halt::Stop;
use crate::sms::Offer;

pub(super) fn consider(input: &Input<'_>) -> Finding {
    let Some(size) = &input.sms else {
        return against(
            "NO_SMS_TEXT",
            Vec::new(),
            "The message has no text for an SMS.",
        );
    };
    let mut facts = vec![
        format!("encoding={}", size.encoding),
        format!("segments={}", size.segments),
        format!("units={}", size.units),
    ];
    let gateways = gateways(input);
    facts.extend(
        input
            .calling_code
            .map(|code| format!("calling_code={code}")),
    );
    if !gateways.is_empty() {
        facts.push(format!("gateways={}", gateways.join(",")));
    }
    facts.push(input.consent.fact());
    // It may send SMS still, but in somebody else's conversations.
    if input.sender.gone == Some(Gone::MigratedAway) {
        return against(
            Gone::MigratedAway.as_str(),
            facts,
            Gone::MigratedAway.text(),
        );
    }
    if !input.has_phone {
        return against(
            "NO_PHONE",
            facts,
            "The customer's phone number is not known.",
        );
    }
    match input.sms_offer {
        Offer::NoSender => {
            return against("NO_SMS_SENDER", facts, "The number has no SMS sender.");
        }
        Offer::NoSenderThere => {
            let text = "The number has no SMS sender for the customer's country.";
            return against("NO_SMS_SENDER_FOR_COUNTRY", facts, text);
        }
        Offer::Ways(_) => {}
    }
    if gateways.is_empty() {
        let text = "No SMS gateway is left to be tried for this message.";
        return against("SMS_GATEWAYS_EXHAUSTED", facts, text);
    }
    let text = format!("An SMS of {} segment(s) can be sent.", size.segments);
    for_it("SMS_POSSIBLE", facts, text)
}

/// Gateways that it could go through now, in their order.
pub(super) fn open_gateways<'a>(input: &Input<'a>) -> Vec<&'a str> {
    let mut gateways = gateways(input);
    gateways.retain(|name| input.stops.on_gateway(name).is_none());
    gateways
}

/// What stops every gateway that is left; the end of one of these will do.
pub(super) fn all_halted(input: &Input<'_>) -> Option<Stop> {
    let mut joined: Option<Stop> = None;
    for name in gateways(input) {
        let stop = input.stops.on_gateway(name)?.clone();
        joined = Some(match joined {
            Some(before) => before.or(stop),
            None => stop,
        });
    }
    joined
}

/// Gateways that have not failed for this message yet, in their order.
pub(super) fn gateways<'a>(input: &Input<'a>) -> Vec<&'a str> {
    let Offer::Ways(ways) = input.sms_offer else {
        return Vec::new();
    };
    let names = ways.iter().map(|way| way.gateway.as_str());
    names
        .filter(|name| !input.exhausted_gateways.iter().any(|gone| gone == name))
        .collect()
}
