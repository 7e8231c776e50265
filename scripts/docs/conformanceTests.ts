/**
 * Which tests hold each rule of docs/reference/protocol.md. A test is named by its file and by words of its title, groups
 * before it; it stands for all whose full title has these words.
 */

export type Test = readonly [file: string, title: string]

/** Where a rule is tested: in memory, with real MTAs, beside libmilter. */
export interface Tests {
  readonly here: ReadonlyArray<Test>
  readonly postfix?: ReadonlyArray<Test>
  readonly sendmail?: ReadonlyArray<Test>
  /** With a Sendmail that is built for larger packets. */
  readonly larger?: ReadonlyArray<Test>
  readonly libmilter?: ReadonlyArray<Test>
}

const at = (name: string) => (title: string): Test => [`test/${name}.test.ts`, title]

const negotiation = at("Negotiation")
const conversation = at("engine/conversation")
const connection = at("engine/connection")
const order = at("protocol/commandOrder")
const packet = at("Packet")
const limits = at("engine/limits")
const time = at("engine/time")
const vectors = at("wire/vectors")
const postfixVerdicts = at("integration/verdicts")
const sendmailVerdicts = at("integration/sendmailVerdicts")
const postfixFilters = at("integration/filters")
const sendmailFilters = at("integration/sendmailFilters")
const modifications = at("integration/modifications")
const beside = at("differential/differential")

/** Random and recorded sessions, answered with the same bytes. */
const sameBytes = [beside("are answered with the same bytes"), beside("is answered with the same bytes")]

/** A stage: its command round-trips, takes every verdict that is legal there, and does so with both MTAs. */
const stage = (name: string, command: string): Tests => ({
  here: [packet(`every command of an MTA ${command} round-trips`), conversation(`at ${name}`)],
  postfix: [postfixVerdicts(` ${name}: `)],
  sendmail: [sendmailVerdicts(` ${name}: `)],
  libmilter: sameBytes
})

/** A command without an answer. */
const told = (command: string, ...more: ReadonlyArray<Test>): Tests => ({
  here: [packet(`every command of an MTA ${command} round-trips`), ...more],
  libmilter: sameBytes
})

/** A verdict, at the stages where the tests have it. */
const verdict = (reply: string, ...more: ReadonlyArray<Test>): Tests => ({
  here: [packet(`every reply of a filter ${reply} round-trips`), ...more],
  libmilter: sameBytes
})

/** A change, as both MTAs make it; the model of each is tested too. */
const change = (reply: string, ...words: ReadonlyArray<string>): Tests => ({
  here: [packet(`every reply of a filter ${reply} round-trips`)],
  postfix: words.map(modifications),
  sendmail: words.map(modifications),
  libmilter: sameBytes
})

export const tests: { readonly [rule: string]: Tests } = {
  "frame-layout": { here: [at("Frame")(""), vectors("malformed/length")], libmilter: sameBytes },
  "frame-limit": { here: [limits("on frames: the connection is closed"), vectors("malformed/oversize")] },
  "frame-unreadable": {
    here: [packet("what is no packet"), at("engine/hostile")("closes on those who speak something else")]
  },

  "negotiate-first": {
    here: [order("Negotiate: idle"), at("engine/hostile")("speak something else")],
    libmilter: sameBytes
  },
  "negotiate-version": {
    here: [negotiation("versions"), vectors("malformed/optneg-v1")],
    libmilter: sameBytes
  },
  "negotiate-actions": { here: [negotiation("actions")], libmilter: sameBytes },
  "negotiate-steps": { here: [negotiation("steps are masked")], libmilter: sameBytes },
  "negotiate-no-reply": { here: [conversation("replies that are left out")], libmilter: sameBytes },
  "negotiate-macros": { here: [negotiation("macro lists")], libmilter: sameBytes },
  "negotiate-rejected-recipients": {
    here: [negotiation("rejected recipients only if it says so")],
    postfix: [postfixFilters("shows parameters and recipients that the MTA refused")],
    sendmail: [sendmailFilters("shows parameters, and nothing of recipients that the MTA refused")],
    libmilter: sameBytes
  },
  "negotiate-leading-space": {
    here: [vectors("header/two-spaces")],
    postfix: [postfixFilters("headers that are folded or not UTF-8")],
    sendmail: [sendmailFilters("headers that are folded or not UTF-8")],
    libmilter: sameBytes
  },
  "negotiate-large-bodies": {
    here: [at("engine/hooks")("larger"), at("MilterClient")("larger pieces"), vectors("optneg/mta/v6-mds-1m")],
    larger: [at("integration/largePackets")("")],
    libmilter: [beside("Large packets")]
  },

  "command-connect": stage("connect", "Connect"),
  "command-helo": stage("helo", "Helo"),
  "command-mail": stage("mail", "Mail"),
  "command-rcpt": stage("rcpt", "Rcpt"),
  "command-data": stage("data", "Data"),
  "command-header": stage("header", "Header"),
  "command-end-of-headers": stage("endOfHeaders", "EndOfHeaders"),
  "command-body": stage("body", "Body"),
  "command-end-of-message": stage("endOfMessage", "EndOfMessage"),
  "command-unknown": stage("unknown", "Unknown"),
  "command-macro": told("Macro", at("protocol/macroStore")("")),
  "command-abort": told("Abort", conversation("abort (RSET) gives up the open message")),
  "command-quit": told("Quit", connection("is interrupted by quit")),
  "command-quit-new-connection": told("QuitNewConnection", conversation("QUIT_NC begins another SMTP session")),

  "reply-continue": {
    ...verdict("Continue", conversation("verdicts Continue at")),
    postfix: [postfixVerdicts(": continue")],
    sendmail: [sendmailVerdicts(": continue")]
  },
  "reply-accept": {
    ...verdict("Accept", conversation("verdicts Accept")),
    postfix: [postfixVerdicts(": accept")],
    sendmail: [sendmailVerdicts(": accept")]
  },
  "reply-reject": {
    ...verdict("Reject", conversation("verdicts Reject at")),
    postfix: [postfixVerdicts(": reject")],
    sendmail: [sendmailVerdicts(": reject")]
  },
  "reply-temp-fail": {
    ...verdict("TempFail", conversation("verdicts TempFail at")),
    postfix: [postfixVerdicts(": tempFail")],
    sendmail: [sendmailVerdicts(": tempFail")]
  },
  "reply-code": {
    ...verdict("ReplyCode", conversation("verdicts Reject 550 5 at"), vectors("replycode")),
    postfix: [postfixVerdicts(": reject with three lines"), postfixVerdicts(": tempFail 421")],
    sendmail: [sendmailVerdicts(": reject with three lines"), sendmailVerdicts(": tempFail 421")]
  },
  "reply-discard": {
    ...verdict("Discard", conversation("verdicts DiscardMessage at")),
    postfix: [postfixVerdicts(": discard")],
    sendmail: [sendmailVerdicts(": discard")]
  },
  "reply-skip": {
    ...verdict("Skip", conversation("skip at body goes out where it was offered")),
    postfix: [postfixVerdicts("body: skip")],
    sendmail: [sendmailVerdicts("body: skip")]
  },
  "reply-progress": {
    here: [packet("every reply of a filter Progress round-trips"), time("sign")],
    postfix: [at("integration/reliability")("shows signs of life")],
    sendmail: [sendmailFilters("waits for a slow filter as long as it shows signs of life")]
  },
  "reply-add-header": change("AddHeader", "addHeader"),
  "reply-insert-header": change("InsertHeader", "insertHeader"),
  "reply-change-header": change("ChangeHeader", "changeHeader", "deleteHeader"),
  "reply-replace-body": change("ReplaceBody", "replaceBody"),
  "reply-add-recipient": change("AddRecipient", "addRecipient"),
  "reply-add-recipient-with-parameters": change("AddRecipientWithParameters", "edits at random"),
  "reply-delete-recipient": change("DeleteRecipient", "deleteRecipient"),
  "reply-change-sender": change("ChangeSender", "changeSender"),
  "reply-quarantine": change("Quarantine", "quarantine"),
  "reply-never": {
    here: [packet("ConnectionFail round-trips"), packet("Shutdown round-trips"), conversation("illegal ones")]
  },

  "state-one-answer": { here: [at("engine/invariant")("has one verdict for each command")], libmilter: sameBytes },
  "state-order": { here: [order("transitions")], libmilter: sameBytes },
  "state-out-of-order": {
    here: [order("ProtocolError names the rule and the place")],
    libmilter: [beside("Out of order")]
  },
  "state-several-messages": {
    here: [conversation("carry several messages")],
    postfix: [postfixFilters("keeps two messages and a RSET between them apart")],
    sendmail: [sendmailFilters("keeps two messages and a RSET between them apart")],
    libmilter: sameBytes
  },
  "state-message-given-up": {
    here: [conversation("MAIL and HELO while a message is open end it as aborted")],
    sendmail: [sendmailFilters("gives up a message whose client goes away, or says EHLO again")],
    libmilter: sameBytes
  },
  "state-data-again": { here: [conversation("DATA that was refused may come again")], libmilter: sameBytes },
  "state-settled": { here: [conversation("a settled message gets its verdict again")], libmilter: sameBytes },
  "state-recipient": {
    here: [conversation("refusing one recipient refuses no other")],
    postfix: [postfixVerdicts("rcpt: ")],
    sendmail: [sendmailVerdicts("rcpt: ")],
    libmilter: sameBytes
  },
  "state-changes-before-verdict": {
    here: [limits("a large body goes out in pieces"), at("engine/invariant")("has one verdict for each command")],
    libmilter: sameBytes
  },
  "state-body-at-end": {
    here: [conversation("body bytes in end of message are one more piece")],
    libmilter: [beside("Body data in the end of message")]
  },
  "state-close": {
    here: [conversation("of a connection: interruption after a reset, or an end inside a message")],
    postfix: [at("integration/reliability")("ends hooks when the SMTP client has gone")],
    libmilter: sameBytes
  },
  "state-idle": { here: [time("connections that do nothing")] }
}
