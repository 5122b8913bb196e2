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
    server_name "smtpServerName" String = weir(220);
    greeting "smtpGreeting" String = weir(221);
    command_flags "smtpCommandFlags" Unsigned32 = cesnet(810);
    mail_count "smtpMailCount" Unsigned32 = cesnet(811);
    rcpt_count "smtpRcptCount" Unsigned32 = cesnet(812);
    reply_flags "smtpReplyFlags" Unsigned32 = cesnet(815);
    reply_2xx_count "smtpReply2xxCount" Unsigned32 = cesnet(816);
    reply_3xx_count "smtpReply3xxCount" Unsigned32 = cesnet(817);
    reply_4xx_count "smtpReply4xxCount" Unsigned32 = cesnet(818);
    reply_5xx_count "smtpReply5xxCount" Unsigned32 = cesnet(819);
    auth_mechanism "smtpAuthMechanism" String = weir(222);
    failed_auth_count "smtpFailedAuthCount" Signed8 = flowmon(253);
    is_encrypted "smtpIsEncrypted" Signed8 = flowmon(254);
    size "smtpSize" Unsigned32 = weir(223);
    header_bcc "smtpHeaderBcc" String = weir(224);
    mailer "smtpMailer" String = weir(225);
    attachment "smtpAttachment" [String] = weir(226);
}
