//! What is sure to fail at the platform is not sent there.

use super::*;

fn reason(case: &Case) -> (&'static str, Option<Route>) {
    let decision = case.decide(2 * DAY);
    let candidate = decision.candidate(Route::Template).unwrap();
    (candidate.reason, decision.chosen)
}

fn asks(category: TemplateCategory, purpose: Purpose) -> Case {
    Case {
        template: Some(approved(category)),
        purpose,
        ..Case::default()
    }
}

#[test]
fn marketing_to_a_number_of_the_united_states_goes_another_way() {
    let mut case = asks(TemplateCategory::Marketing, Purpose::Marketing);
    assert_eq!(reason(&case), ("TEMPLATE_USABLE", Some(Route::Template)));
    case.template.as_mut().unwrap().is_to_us = true;
    assert_eq!(reason(&case), ("MARKETING_TO_US", Some(Route::Sms)));
    let mut utility = asks(TemplateCategory::Utility, Purpose::Utility);
    utility.template.as_mut().unwrap().is_to_us = true;
    assert_eq!(reason(&utility), ("TEMPLATE_USABLE", Some(Route::Template)));
}

#[test]
fn a_one_time_code_needs_a_phone() {
    let mut case = asks(TemplateCategory::Authentication, Purpose::Authentication);
    assert_eq!(reason(&case), ("TEMPLATE_USABLE", Some(Route::Template)));
    case.has_phone = false;
    assert_eq!(reason(&case), ("CODE_NEEDS_PHONE", Some(Route::Hold)));
    let mut utility = asks(TemplateCategory::Utility, Purpose::Utility);
    utility.has_phone = false;
    assert_eq!(reason(&utility), ("TEMPLATE_USABLE", Some(Route::Template)));
    let template = utility.template.as_mut().unwrap();
    template.known.as_mut().unwrap().has_code = true;
    assert_eq!(reason(&utility), ("CODE_NEEDS_PHONE", Some(Route::Hold)));
}

#[test]
fn marketing_never_reopens_for_another_purpose() {
    for purpose in [Purpose::Service, Purpose::Utility, Purpose::Authentication] {
        let case = asks(TemplateCategory::Marketing, purpose);
        assert_eq!(reason(&case), ("TEMPLATE_IS_MARKETING", Some(Route::Sms)));
    }
}

#[test]
fn what_does_not_fit_the_template_goes_another_way() {
    let mut case = asks(TemplateCategory::Utility, Purpose::Utility);
    case.template.as_mut().unwrap().misfit = Some("the header takes an image".to_owned());
    assert_eq!(reason(&case), ("TEMPLATE_PARAMETERS", Some(Route::Sms)));
}

#[test]
fn a_paused_template_says_until_when_as_far_as_is_known() {
    let mut case = asks(TemplateCategory::Utility, Purpose::Utility);
    let known = case.template.as_mut().unwrap().known.as_mut().unwrap();
    known.is_usable = false;
    known.status = "PAUSED".to_owned();
    known.paused_until = Some(at(3 * DAY));
    known.facts = vec!["pause=FIRST_PAUSE".to_owned()];
    let decision = case.decide(2 * DAY);
    let candidate = decision.candidate(Route::Template).unwrap();
    assert_eq!(candidate.reason, "TEMPLATE_NOT_USABLE");
    assert!(candidate.text.contains("until about"), "{}", candidate.text);
    assert!(candidate.facts.contains(&"pause=FIRST_PAUSE".to_owned()));
    assert_eq!(decision.chosen, Some(Route::Sms));
}
