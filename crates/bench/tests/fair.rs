//! The measure `dispatch --only fair`, small: one brand's campaign does not hold up another brand's
//! answers until its end.

mod small;

#[test]
fn answers_of_one_brand_go_while_another_brands_campaign_is_under_way() {
    let said = small::run(
        "dispatch --only fair --customers 200 --campaign 400 --answers 10 --fair-seconds 1",
        &[],
    );
    for row in [
        "| 80/s | alone |",
        "| 80/s | beside the campaign |",
        "| 1000/s | beside the campaign |",
        "| 1000/s | alone again |",
    ] {
        assert!(said.contains(row), "{row}:\n{said}");
    }
    assert!(said.contains("held up no answer"), "{said}");
}
