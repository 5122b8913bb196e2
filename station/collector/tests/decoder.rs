// SPDX-License-Identifier: MIT OR Apache-2.0
//! Messages made by hand: templates' life, data before its template, options, caps, NetFlow.

mod wire;

use weir_collector::{Limits, Protocol, Transport};
use weir_flow::{ExtraElement, Origin, Timestamp};
use wire::*;

fn rig() -> Rig {
    Rig::new(Limits::default())
}

fn learn(id: u16, fields: &[(u16, u16)]) -> Vec<u8> {
    set(2, &template(id, fields))
}

#[test]
fn records_carry_their_origin_and_what_has_no_field() {
    let mut rig = rig();
    // Element 61 (flowDirection) has no field; there are three octets of padding behind the record.
    let fields = [FIELDS, &[(61, 1)]].concat();
    let data = [record(7), vec![1], vec![0; 3]].concat();
    rig.udp(&ipfix(42, 0, &[learn(256, &fields), set(256, &data)]));
    assert_eq!(rig.kept.packets(), [7]);
    let kept = &rig.kept.0[0];
    assert_eq!(kept.origin, Origin { exporter: Some([192, 0, 2, 9].into()), domain: 42 });
    assert_eq!(kept.extra, [ExtraElement { enterprise: 0, id: 61, octets: vec![1] }]);
    assert_eq!(kept.first, Timestamp::from_secs(TIME.into()), "no time of its own: the export time");
    assert_eq!(rig.decoder.counters().records_without_time, 1);
    let exporter = rig.decoder.exporters()[0];
    assert_eq!((exporter.protocol, exporter.transport, exporter.domain), (Protocol::Ipfix, Transport::Udp, 42));
    assert_eq!((exporter.messages, exporter.records, exporter.templates, exporter.lost), (1, 1, 1, 0));
}

#[test]
fn two_domains_and_two_sessions_may_use_one_template_id() {
    let mut rig = rig();
    rig.udp(&ipfix(1, 0, &[learn(256, FIELDS)]));
    rig.udp(&ipfix(2, 0, &[learn(256, OTHER_FIELDS)]));
    rig.from(tcp_peer(1), &ipfix(1, 0, &[learn(256, &[(2, 4)])]));
    rig.udp(&ipfix(1, 0, &[set(256, &record(1))]));
    rig.udp(&ipfix(2, 0, &[set(256, &other_record(2))]));
    rig.from(tcp_peer(1), &ipfix(1, 0, &[set(256, &[0, 0, 0, 3])]));
    assert_eq!(rig.kept.packets(), [1, 2, 3]);
    assert_eq!(rig.decoder.held().templates, 3);
}

#[test]
fn a_template_may_change() {
    let mut rig = rig();
    rig.udp(&ipfix(1, 0, &[learn(256, FIELDS), set(256, &record(1))]));
    rig.udp(&ipfix(1, 1, &[learn(256, FIELDS), set(256, &record(2))]));
    rig.udp(&ipfix(1, 2, &[learn(256, OTHER_FIELDS), set(256, &other_record(3))]));
    assert_eq!(rig.kept.packets(), [1, 2, 3]);
    let counters = rig.decoder.counters();
    assert_eq!((counters.templates_learned, counters.templates_repeated, counters.templates_changed), (1, 1, 1));
    assert_eq!(rig.decoder.held().templates, 1);
}

#[test]
fn data_before_its_template_is_decoded_in_order_with_its_own_times() {
    let mut rig = rig();
    rig.udp(&ipfix_at(TIME - 60, 1, 0, &[set(256, &record(1)), set(257, &record(9))]));
    rig.udp(&ipfix_at(TIME - 50, 1, 2, &[set(256, &[record(2), record(3)].concat())]));
    assert_eq!(rig.kept.packets(), []);
    assert_eq!((rig.decoder.counters().sets_waited, rig.decoder.held().waiting_sets), (3, 3));
    rig.udp(&ipfix(1, 4, &[learn(256, FIELDS), set(256, &record(4))]));
    assert_eq!(rig.kept.packets(), [1, 2, 3, 4]);
    assert_eq!(rig.kept.0[0].first, Timestamp::from_secs(u64::from(TIME) - 60));
    assert_eq!(rig.decoder.counters().sets_recovered, 2);
    rig.decoder.close(udp_peer(2055));
    rig.check();
    assert_eq!(rig.decoder.counters().sets_given_up, 1);
    assert_eq!(*rig.decoder.held(), weir_collector::Held::default());
}

#[test]
fn withdrawals_count_over_tcp_only() {
    let withdraw = |id: u16| set(2, &template(id, &[]));
    let mut rig = rig();
    let templates = [learn(256, FIELDS), learn(257, FIELDS), learn(258, FIELDS)];
    rig.from(tcp_peer(1), &ipfix(1, 0, &templates));
    rig.from(tcp_peer(1), &ipfix(1, 0, &[withdraw(256), set(257, &record(1))]));
    assert_eq!((rig.decoder.held().templates, rig.decoder.counters().templates_withdrawn), (2, 1));
    rig.from(tcp_peer(1), &ipfix(1, 1, &[withdraw(999), withdraw(2), set(257, &record(2))]));
    assert_eq!((rig.decoder.held().templates, rig.decoder.counters().templates_withdrawn), (0, 3));
    assert_eq!(rig.kept.packets(), [1]);
    rig.udp(&ipfix(1, 0, &templates));
    rig.udp(&ipfix(1, 0, &[withdraw(256), withdraw(2)]));
    assert_eq!((rig.decoder.held().templates, rig.decoder.counters().withdrawals_ignored), (3, 2));
}

#[test]
fn a_bad_set_or_template_does_not_take_the_others_along() {
    let mut rig = rig();
    let good = learn(256, FIELDS);
    let cut_template = set(2, &[1, 1, 0, 9, 0, 8, 0, 4]);
    let cut_record = set(256, &[record(2), vec![0xff; 5]].concat());
    let variable = learn(258, &[(2, 4), (95, 0xffff)]);
    let lying = set(258, &[0, 0, 0, 3, 200, 1, 2, 3]);
    let reserved = set(100, &[1, 2, 3]);
    rig.udp(&ipfix(1, 0, &[good, cut_template, cut_record, variable, lying, reserved, set(256, &record(4))]));
    assert_eq!(rig.kept.packets(), [2, 4]);
    let counters = rig.decoder.counters();
    assert_eq!((counters.templates_damaged, counters.records_damaged, counters.sets_reserved), (1, 1, 1));
    assert_eq!(counters.sets_damaged, 0);

    // A set that claims more than there is ends the message; the number of its records is unknown then.
    let mut message = ipfix(1, 3, &[set(256, &record(5)), set(256, &record(6))]);
    let at = message.len() - record(6).len() - 1;
    message[at] = 0xff;
    rig.udp(&message);
    rig.udp(&ipfix(1, 77, &[set(256, &record(7))]));
    assert_eq!(rig.kept.packets(), [2, 4, 5, 7]);
    let counters = rig.decoder.counters();
    assert_eq!((counters.sets_damaged, counters.lost_records, counters.sequence_unchecked), (1, 0, 2));
}

#[test]
fn what_is_no_message_is_counted_by_reason() {
    let mut rig = rig();
    let whole = ipfix(1, 0, &[learn(256, FIELDS)]);
    for bad in [&[][..], &[0], &[0, 10, 0, 3], &whole[..whole.len() - 1], &[0, 9, 0, 0], &[0, 5, 0, 1]] {
        rig.udp(bad);
    }
    rig.udp(b"\x00\x07nonsense");
    assert_eq!(rig.decoder.counters().messages_truncated, 6);
    assert_eq!(rig.decoder.counters().messages_of_unknown_version, 1);
    assert_eq!(rig.decoder.held().sessions, 0);
    rig.udp(&[whole, vec![1, 2, 3]].concat());
    assert_eq!(rig.decoder.counters().messages_with_trailing_octets, 1);
    assert_eq!(rig.decoder.held().templates, 1);
}

#[test]
fn options_say_when_the_exporter_started_and_how_it_samples() {
    let mut rig = rig();
    // Options template 300: scope meteringProcessId, then systemInitTimeMilliseconds and samplingPacketInterval.
    let options = set(3, &[1, 44, 0, 3, 0, 1, 0, 143, 0, 4, 0, 160, 0, 8, 1, 49, 0, 4]);
    let started = (u64::from(TIME) - 100) * 1_000;
    let mut body = vec![0, 0, 0, 1];
    body.extend(started.to_be_bytes());
    body.extend([0, 0, 0, 128]);
    let fields = [FIELDS, &[(22, 4), (21, 4)]].concat();
    let mut data = record(1);
    data.extend(2_000_u32.to_be_bytes());
    data.extend(3_500_u32.to_be_bytes());
    rig.udp(&ipfix(1, 0, &[options, set(300, &body), learn(256, &fields), set(256, &data)]));
    assert_eq!(rig.kept.0[0].first, Timestamp::from_millis(started + 2_000));
    assert_eq!(rig.kept.0[0].last, Timestamp::from_millis(started + 3_500));
    assert_eq!(rig.decoder.counters().records_of_options, 1);
    assert_eq!(rig.decoder.exporters()[0].sampling_interval, 128);
    // Records of options count in sequence numbers.
    rig.udp(&ipfix(1, 2, &[set(256, &data)]));
    rig.udp(&ipfix(1, 13, &[set(256, &data)]));
    assert_eq!((rig.decoder.counters().lost_records, rig.decoder.exporters()[0].lost), (10, 10));
    rig.udp(&ipfix(1, 3, &[set(256, &[data.clone(), data].concat())]));
    assert_eq!((rig.decoder.counters().lost_records, rig.decoder.exporters()[0].lost), (8, 8));
    assert_eq!(rig.decoder.counters().messages_late, 1);
}

#[test]
fn netflow_5_is_read() {
    let mut rig = rig();
    let records = [v5_record(6, 80, 5, 10_000, 20_000), v5_record(1, 0x0800, 1, u32::MAX - 999, 0)];
    rig.udp(&v5(30_000, 100, &records));
    let export = u64::from(TIME) * 1_000 + 250;
    let [tcp, icmp] = &rig.kept.0[..] else { panic!("two records") };
    assert_eq!((tcp.ports, tcp.packets, tcp.octets, tcp.icmp), ((12_345, 80), 5, 500, None));
    assert_eq!(
        (tcp.first, tcp.last),
        (Timestamp::from_millis(export - 20_000), Timestamp::from_millis(export - 10_000))
    );
    assert_eq!(tcp.extra, [ExtraElement { enterprise: 0, id: 17, octets: vec![0xfd, 0xe8] }], "the one AS that is set");
    assert_eq!(tcp.origin.domain, 0x0102);
    assert_eq!((icmp.ports, icmp.icmp), ((0, 0), Some(0x0800)));
    assert_eq!(icmp.first, Timestamp::from_millis(export - 31_000), "before the uptime wrapped");
    assert_eq!(rig.decoder.exporters()[0].sampling_interval, 10);

    // Claims two records, has one and a half; then seven flows are missing.
    let whole = v5(31_000, 102, &records);
    rig.udp(&whole[..24 + 48 + 24]);
    rig.udp(&v5(32_000, 111, &records[..1]));
    assert_eq!(rig.kept.0.len(), 4);
    assert_eq!((rig.decoder.counters().records_damaged, rig.decoder.counters().lost_records), (1, 7));
    // A restart: the uptime is small again.
    rig.udp(&v5(100, 0, &records[..1]));
    assert_eq!((rig.decoder.counters().exporter_restarts, rig.decoder.counters().lost_records), (1, 7));
}

#[test]
fn netflow_9_is_read() {
    let mut rig = rig();
    let fields = [FIELDS, &[(22, 4), (21, 4)]].concat();
    let data = |protocol: u8, port: u16| {
        let mut data = vec![198, 51, 100, 7];
        data.extend(port.to_be_bytes());
        data.extend([protocol, 0, 0, 0, 1]);
        data.extend(5_000_u32.to_be_bytes());
        data.extend(6_000_u32.to_be_bytes());
        data
    };
    let two = set(256, &[data(6, 80), data(58, 0x8000), vec![0; 2]].concat());
    // Options template 300: scope system, option samplingInterval.
    let options = set(1, &[1, 44, 0, 4, 0, 4, 0, 1, 0, 4, 0, 34, 0, 4]);
    rig.udp(&v9(7, 0, 10_000, &[set(0, &template(256, &fields)), two.clone()]));
    rig.udp(&v9(7, 1, 10_000, &[options, set(300, &[0, 0, 0, 0, 0, 0, 0, 64])]));
    rig.udp(&v9(7, 5, 10_000, &[two]));
    let time = u64::from(TIME) * 1_000;
    assert_eq!(rig.kept.0.len(), 4);
    assert_eq!(rig.kept.0[0].first, Timestamp::from_millis(time - 5_000));
    assert_eq!(rig.kept.0[0].last, Timestamp::from_millis(time - 4_000));
    assert_eq!((rig.kept.0[1].icmp, rig.kept.0[1].ports), (Some(0x8000), (0, 0)));
    assert_eq!(rig.decoder.counters().lost_messages, 3);
    assert_eq!(rig.decoder.exporters()[0].sampling_interval, 64);
    assert_eq!(rig.decoder.exporters()[0].protocol, Protocol::Netflow9);
}

#[test]
fn templates_are_capped_by_number_fields_and_memory() {
    let mut rig = Rig::new(Limits { templates_per_session: 2, ..Limits::default() });
    for id in 256..260 {
        rig.udp(&ipfix(1, 0, &[learn(id, FIELDS)]));
    }
    assert_eq!((rig.decoder.held().templates, rig.decoder.counters().templates_beyond_count_cap), (2, 2));
    // A change needs no more room.
    rig.udp(&ipfix(1, 0, &[learn(256, OTHER_FIELDS), set(256, &other_record(1))]));
    assert_eq!(rig.kept.packets(), [1]);

    let empty: Vec<_> = [&[(2, 4)][..], &[(8, 0); 65]].concat();
    rig.udp(&ipfix(1, 1, &[learn(256, &empty)]));
    assert_eq!(rig.decoder.counters().templates_refused_empty_fields, 1);
    assert_eq!(rig.decoder.held().templates, 1, "the old template is gone: data would be read by it");

    let mut rig = Rig::new(Limits { template_octets: 1_500, ..Limits::default() });
    for port in 1..4 {
        rig.from(udp_peer(port), &ipfix(1, 0, &[learn(256, FIELDS)]));
    }
    assert_eq!((rig.decoder.held().templates, rig.decoder.counters().templates_beyond_memory_cap), (2, 1));
}

#[test]
fn waiting_data_is_capped() {
    // Three sessions, four sets each: the first limits let each keep some, the second all together.
    for (per_session, in_all) in [(200, 10_000), (10_000, 200)] {
        let limits = Limits { waiting_octets_per_session: per_session, waiting_octets: in_all, ..Limits::default() };
        let mut rig = Rig::new(limits);
        for port in [1, 2, 3].repeat(4) {
            rig.from(udp_peer(port), &ipfix(1, 0, &[set(256, &record(1))]));
            assert!(rig.decoder.held().waiting_octets <= in_all.min(3 * per_session));
        }
        let counters = *rig.decoder.counters();
        assert!(counters.sets_waited >= 3 && counters.sets_not_kept >= 3, "{counters:?}");
        for port in 1..4 {
            rig.from(udp_peer(port), &ipfix(1, 0, &[learn(256, FIELDS)]));
        }
        assert_eq!(rig.kept.0.len() as u64, counters.sets_waited);
        assert_eq!(rig.decoder.held().waiting_octets, 0);
    }
}

#[test]
fn udp_sessions_are_capped_and_a_flood_does_not_push_out_who_speaks() {
    let limits = Limits { udp_sessions: 2, domains_per_session: 2, ..Limits::default() };
    let mut rig = Rig::new(limits);
    let hello = ipfix(1, 0, &[learn(256, FIELDS)]);
    rig.from(udp_peer(1), &hello);
    rig.from(udp_peer(1), &ipfix(1, 0, &[set(256, &record(1))]));
    for port in 100..110 {
        rig.from(udp_peer(port), &hello);
    }
    rig.from(udp_peer(1), &ipfix(1, 1, &[set(256, &record(2))]));
    assert_eq!(rig.kept.packets(), [1, 2]);
    assert_eq!((rig.decoder.held().sessions, rig.decoder.counters().udp_sessions_evicted), (2, 9));
    // Now the other one has yielded records too: there is no room any more.
    rig.from(udp_peer(109), &ipfix(1, 0, &[set(256, &record(3))]));
    rig.from(udp_peer(110), &hello);
    assert_eq!(rig.decoder.counters().messages_beyond_session_cap, 1);
    for domain in 1..5 {
        rig.from(udp_peer(1), &ipfix(domain, 2, &[]));
    }
    assert_eq!(rig.decoder.counters().messages_beyond_domain_cap, 2);
    // After a long silence everyone is forgotten.
    rig.now = rig.now.after(limits.udp_session_idle);
    rig.decoder.expire(rig.now);
    rig.check();
    assert_eq!(*rig.decoder.held(), weir_collector::Held::default());
    assert_eq!(rig.decoder.counters().udp_sessions_expired, 2);
}

#[test]
fn a_flood_of_domains_does_not_keep_out_others() {
    let mut rig = Rig::new(Limits { domains: 8, domains_per_session: 4, ..Limits::default() });
    for port in 1..20 {
        for domain in 1..5 {
            rig.from(udp_peer(port), &ipfix(domain, 0, &[]));
        }
    }
    assert!(rig.decoder.held().domains <= 8);
    for peer in [tcp_peer(1), udp_peer(100)] {
        rig.from(peer, &ipfix(7, 0, &[learn(256, FIELDS), set(256, &record(1))]));
    }
    rig.check();
    assert_eq!(rig.kept.packets(), [1, 1]);
    assert_eq!(rig.decoder.counters().messages_beyond_domain_cap, 0);
}

#[test]
fn exporters_are_listed_up_to_a_cap() {
    let mut rig = Rig::new(Limits { exporters: 2, ..Limits::default() });
    for domain in 1..5 {
        rig.udp(&ipfix(domain, 0, &[learn(256, FIELDS), set(256, &record(1))]));
    }
    assert_eq!(rig.decoder.exporters().len(), 2);
    assert_eq!(rig.decoder.counters().messages_of_unlisted_exporters, 2);
    assert_eq!(rig.kept.0.len(), 4);
}
