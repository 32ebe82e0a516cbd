//! An edge at the limit of its capacity.

use gibbon_control::{
    node::{FromNode, ToNode},
    session::ToViewer,
};
use gibbon_handoff::{FromEdge, OrderId, Reason, Source, Term, ToEdge};
use gibbon_media::{
    Description::{self, One, Zero},
    HandoffId, SessionId,
};
use gibbon_net::wire::RejectCode;

use crate::network::{Coordinator, Network, Origin, Viewer, id};

fn let_go(news: ToViewer) -> Option<Description> {
    match news {
        ToViewer::LetGo { description } => Some(description),
        _ => None,
    }
}

#[tokio::test]
async fn a_newcomer_gets_one_description_and_the_least_important_session_makes_room() {
    let network = Network::new();
    let origin = Origin::start(&network, "studio");
    let edge = network.edge(&[&origin], None, &["--capacity-legs", "4"]).await;
    let mut important = network.viewer(&edge, 1, 6).await;
    let mut common = network.viewer(&edge, 2, 5).await;
    let _important = [important.leg(Zero).await.unwrap(), important.leg(One).await.unwrap()];
    let [kept, spared] = [common.leg(One).await.unwrap(), common.leg(Zero).await.unwrap()];
    let newcomer = network.viewer(&edge, 3, 0).await;
    let mut first = newcomer.leg(Zero).await.unwrap();
    first.brings_more().await;
    assert_eq!(common.hears("let go", let_go).await, Zero);
    drop(spared);
    let refused = newcomer.leg(One).await.unwrap_err();
    assert_eq!((refused.code, refused.elsewhere), (RejectCode::Full, Some(id("edge-b"))));
    let brought_down = edge.logged("brought down to one description").await;
    assert_eq!(brought_down["session"], "0000000000000002");
    assert_eq!(brought_down["priority"], "5");
    let refusal = edge.logged("leg refused").await;
    assert_eq!(refusal["session"], "0000000000000003");
    assert_eq!((&refusal["description"], &refusal["elsewhere"]), (&"1".into(), &"edge-b".into()));
    // One leg more: with one each everybody still fits.
    let last = network.viewer(&edge, 4, 0).await;
    let last = last.leg(One).await.unwrap();
    for again in ["let go", "let go, again"] {
        assert_eq!(important.hears(again, let_go).await, One);
    }
    // Room returns.
    drop((last, kept));
    let mut second = newcomer.gets(One).await;
    second.brings_more().await;
}

#[tokio::test]
async fn a_session_with_its_other_hand_elsewhere_takes_nobodys_place() {
    let network = Network::new();
    let origin = Origin::start(&network, "studio");
    let mut coordinator = Coordinator::start(&network);
    let edge = network.edge(&[&origin], Some(&coordinator), &["--capacity-legs", "2"]).await;
    let mut both = network.viewer(&edge, 1, 5).await;
    let _both = [both.leg(Zero).await.unwrap(), both.leg(One).await.unwrap()];
    let mut apart = network.viewer(&edge, 2, 5).await;
    let mut says = async |viewer: &mut Viewer, one| {
        viewer.reports(None, one).await;
        let passed_on = |message| matches!(message, FromNode::Client { .. }).then_some(());
        coordinator.hears("its report", passed_on).await;
    };
    says(&mut apart, Some("edge-b")).await;
    assert_eq!(apart.leg(Zero).await.unwrap_err().code, RejectCode::Full);
    says(&mut apart, None).await;
    apart.leg(Zero).await.unwrap();
    assert_eq!(both.hears("let go", let_go).await, Zero);
}

#[tokio::test]
async fn a_limit_in_kbps_counts_what_the_descriptions_take() {
    let network = Network::new();
    let origin = Origin::start(&network, "studio");
    let mut coordinator = Coordinator::start(&network);
    // Each leg takes 400.
    let edge = network.edge(&[&origin], Some(&coordinator), &["--capacity-kbps", "1000"]).await;
    let mut viewer = network.viewer(&edge, 1, 5).await;
    let _legs = [viewer.leg(Zero).await.unwrap(), viewer.leg(One).await.unwrap()];
    let seen = coordinator.sees("what they take", |report| report.kbps >= 700).await;
    assert!(seen.kbps <= 900, "{}", seen.kbps);
    let newcomer = network.viewer(&edge, 2, 5).await;
    newcomer.leg(One).await.unwrap();
    assert_eq!(viewer.hears("let go", let_go).await, One);
}

#[tokio::test]
async fn a_second_description_is_fetched_ahead_only_if_both_will_fit() {
    let network = Network::new();
    let origin = Origin::start(&network, "studio");
    let mut coordinator = Coordinator::start(&network);
    let edge = network.edge(&[&origin], Some(&coordinator), &["--capacity-legs", "3"]).await;
    let registers = |message| match message {
        FromNode::Register { node, .. } => Some(node),
        _ => None,
    };
    let node = coordinator.hears("its registration", registers).await;
    // Each has one hand here, and nothing to spare.
    let [one, other] = [network.viewer(&edge, 1, 5).await, network.viewer(&edge, 2, 5).await];
    let _legs = [one.leg(Zero).await.unwrap(), other.leg(Zero).await.unwrap()];
    let mut answers = Vec::new();
    for (step, description) in [(1, One), (2, Zero)] {
        let order = ToEdge::Prefetch {
            order: OrderId { term: Term(1), step, handoff: HandoffId(1) },
            session: SessionId(3),
            stream: "live/test".parse().unwrap(),
            description,
            fetch: Source::Origin,
            first_edge: id("edge-b"),
        };
        coordinator.says(ToNode::Edge { edge: node.clone(), session: SessionId(3), order });
        let answered = |message| match message {
            FromNode::Edge { answer: FromEdge::Ready { .. }, .. } => Some(None),
            FromNode::Edge { answer: FromEdge::Refused { reason, .. }, .. } => Some(Some(reason)),
            _ => None,
        };
        answers.push(coordinator.hears("its answer", answered).await);
    }
    assert_eq!(answers, [None, Some(Reason::Full)]);
}
