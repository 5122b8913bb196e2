// SPDX-License-Identifier: MIT OR Apache-2.0
//! Elements of SMTP.

use super::{cesnet, flowmon, weir};

rows! { Smtp:
    helo "smtpHelo" String = cesnet(820), flowmon(250);
    mail_from "smtpMailFrom" String = cesnet(813), flowmon(251);
    rcpt_to "smtpRcptTo" [String] = cesnet(814);
    subject "smtpSubject" String = weir(20);
    header_from "smtpHeaderFrom" String = weir(21);
    header_to "smtpHeaderTo" String = weir(22);
    header_cc "smtpHeaderCc" String = weir(23);
    message_id "smtpMessageId" String = weir(24);
    reply_code "smtpReplyCode" [Unsigned16] = weir(25);
    command "smtpCommand" [String] = weir(26);
}
