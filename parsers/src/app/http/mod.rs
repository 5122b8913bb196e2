//! Not yet written.
use weir_flow::app::Http;
use super::{AfterGap, Direction, Identity, Input, Probe, Step, Transactions};
/// Not yet written.
#[derive(Debug, Default)]
pub struct Parser {}
impl super::Parser for Parser {
    type Fields = Http;
    const IDENTITY: Identity = Identity { slug: "http", transports: &[], port_hints: &[], max_buffered: 0, max_inspected: 0, max_open: 1 };
    fn probe(_: Input<'_>) -> Probe { Probe::No }
    fn parse(&mut self, _: Input<'_>, _: &mut Transactions<Http>) -> Step { Step::Reject }
    fn gap(&mut self, _: Direction) -> AfterGap { AfterGap::Done }
}
