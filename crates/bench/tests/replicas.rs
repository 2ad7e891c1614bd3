//! `bench replicas`, small: the same messages by one process of each role and by two, and another
//! dispatcher that sends when the active one leaves.

mod small;

#[test]
fn two_of_each_role_lose_nothing_do_nothing_twice_and_hand_over() {
    let said = small::run("replicas --of 2 --customers 20 --messages 60", &[]);
    // Sixty messages and twenty that open windows; sixty sent, and sixty while one hands over.
    assert!(
        said.contains("| 2 | 80 | 40 | 120 | 120 | 0 | 0 |"),
        "{said}"
    );
    assert!(said.contains("nothing was lost or done twice"), "{said}");
}
