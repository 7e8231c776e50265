/**
 * The deliberate differences that no MTA brings about by itself, or only by chance: what to say, and what both filters
 * answer, exactly. docs/reference/libmilter-differences.md has the same headings and gives the reasons.
 */
import * as Frame from "effect-milter/Frame"
import { Step } from "effect-milter/Negotiation"
import type * as Packet from "effect-milter/Packet"
import { ByteString } from "effect-milter/Wire"
import * as Mta from "../support/rawMta.ts"
import type { VariantName } from "./filter.ts"

/**
 * What is said, and what comes back: an element for each verdict with the changes in front of it, `closes` if the filter
 * closes. Fields X-Seen are left out.
 */
export interface Step {
  readonly say: Packet.MtaPacket | Uint8Array
  readonly theirs: ReadonlyArray<string>
  readonly ours: ReadonlyArray<string>
}

export interface Script {
  readonly name: string
  readonly variant: VariantName
  readonly steps: ReadonlyArray<Step>
}

const both = (say: Packet.MtaPacket | Uint8Array, ...answers: ReadonlyArray<string>): Step => ({
  say,
  theirs: answers,
  ours: answers
})

const go = (...packets: ReadonlyArray<Packet.MtaPacket>): ReadonlyArray<Step> =>
  packets.map((packet) => both(packet, "Continue"))

const negotiated = (steps: string, offer: Partial<typeof Mta.modern> = {}): Step => {
  const { actions, version } = { ...Mta.modern, ...offer }
  return both(
    Mta.negotiate(offer),
    `Negotiated version=${version} actions=0x${(actions & 0xff).toString(16)} steps=${steps} macros=[]`
  )
}

/** Up to HELO, with the variant that answers everything. */
const greeted = [negotiated("0x100400"), ...go(Mta.connect(), Mta.helo())]
const envelope = [...greeted, ...go(Mta.mail(), Mta.rcpt(), Mta.data)]

/** A message that asks for changes, up to its end. */
const changing = (...edits: ReadonlyArray<string>): ReadonlyArray<Step> => [
  ...envelope,
  ...go(...edits.map((edit) => Mta.header("X-Do", ` ${edit}`)), Mta.endOfHeaders)
]

const macros = (stage: string, values: { readonly [name: string]: string }) => both(Mta.macros(stage, values))

const raw = (code: string, payload: string): Uint8Array =>
  Frame.encode(code.charCodeAt(0), ByteString.toBytes(ByteString.make(payload)))

const answering = (name: string, ...steps: ReadonlyArray<Step>): Script => ({ name, variant: "answering", steps })

const long = "xxxxxxxxx ".repeat(60).trimEnd()
const longLines = [long.slice(0, 499), long.slice(500)]
const wide = "v".repeat(500)

export const scripts: ReadonlyArray<Script> = [
  // --- answers

  answering("A refusal without an enhanced status", ...greeted, {
    say: Mta.mail("<do-bare550@example.org>"),
    theirs: [`ReplyCode text="550 no status"`],
    ours: [`ReplyCode text="550 5.7.1 no status"`]
  }, {
    say: Mta.mail("<do-bare452@example.org>"),
    theirs: [`ReplyCode text="452 no status"`],
    ours: [`ReplyCode text="452 4.0.0 no status"`]
  }),
  answering("Percent signs in a refusal", ...greeted, {
    say: Mta.mail("<do-percent550@example.org>"),
    theirs: [`ReplyCode text="550 5.7.1 100% sure"`],
    ours: [`ReplyCode text="550 5.7.1 100%% sure"`]
  }),
  answering("Long lines in a refusal", ...greeted, {
    say: Mta.mail("<do-long550@example.org>"),
    theirs: [`ReplyCode text="550 5.7.1 ${long} "`],
    ours: [`ReplyCode text="550-5.7.1 ${longLines[0]}\\r\\n550 5.7.1 ${longLines[1]}"`]
  }),
  answering("Text outside ASCII in a header", ...changing("add X-City K\u00f6ln"), {
    say: Mta.endOfMessage(),
    theirs: [`AddHeader name="X-City" value=" K\\xC3\\xB6ln", Continue`],
    ours: [`AddHeader name="X-City" value=" =?UTF-8?Q?K=C3=B6ln?=", Continue`]
  }),
  answering("Line ends in a header", ...changing("add X-Folded one\r\n two"), {
    say: Mta.endOfMessage(),
    theirs: [`AddHeader name="X-Folded" value=" one\\r\\n two", Continue`],
    ours: [`AddHeader name="X-Folded" value=" one\\n two", Continue`]
  }),
  answering("Long lines in a header", ...changing(`add X-Wide ${wide} ${wide}`), {
    say: Mta.endOfMessage(),
    theirs: [`AddHeader name="X-Wide" value=" ${wide} ${wide}", Continue`],
    ours: [`AddHeader name="X-Wide" value=" ${wide}\\n ${wide}", Continue`]
  }),
  answering("A header changed to nothing", ...changing("change 1 Subject "), {
    say: Mta.endOfMessage(),
    theirs: [`ChangeHeader index=1 name="Subject" value="", Continue`],
    ours: [`ChangeHeader index=1 name="Subject" value=" ", Continue`]
  }),
  answering("Brackets around addresses", ...changing("barercpt carol@example.net"), {
    say: Mta.endOfMessage(),
    theirs: [`AddRecipient recipient="carol@example.net", Continue`],
    ours: [`AddRecipient recipient="<carol@example.net>", Continue`]
  }),
  answering("Values that would break the message", ...changing("add X-Bad: value"), {
    say: Mta.endOfMessage(),
    theirs: [`AddHeader name="X-Bad:" value=" value", Continue`],
    ours: ["TempFail"]
  }),
  answering("Values that would break the message", ...changing("addrcpt <a@example.net>,<b@example.net>"), {
    say: Mta.endOfMessage(),
    theirs: [`AddRecipient recipient="<a@example.net>,<b@example.net>", Continue`],
    ours: ["TempFail"]
  }),
  answering("The new body", ...changing("body 3", "body 2"), {
    say: Mta.endOfMessage(),
    theirs: [`ReplaceBody bytes=3:"\\x00\\x01\\x02", ReplaceBody bytes=2:"\\x00\\x01", Continue`],
    ours: [`ReplaceBody bytes=2:"\\x00\\x01", Continue`]
  }),
  {
    name: "Skip without the MTA's offer",
    variant: "answering",
    steps: [
      negotiated("0x0", { version: 2, steps: 0x7f }),
      ...go(Mta.connect(), Mta.helo(), Mta.mail(), Mta.rcpt(), Mta.endOfHeaders),
      { say: Mta.body("do-rawskip"), theirs: ["Skip"], ours: ["Continue"] }
    ]
  },
  answering(
    "Body data in the end of message",
    ...envelope,
    ...go(Mta.endOfHeaders),
    { say: Mta.endOfMessage("do-reject"), theirs: ["Reject", "Reject"], ours: ["Reject"] },
    ...go(Mta.mail(), Mta.rcpt(), Mta.data, Mta.endOfHeaders),
    { say: Mta.endOfMessage("do-skip"), theirs: ["Skip", "Skip"], ours: ["Continue"] }
  ),
  {
    name: "Body data in the end of message",
    variant: "watching",
    steps: [
      negotiated("0x1fb480"),
      both(Mta.connect()),
      both(Mta.helo()),
      ...go(Mta.mail()),
      both(Mta.rcpt()),
      both(Mta.data),
      both(Mta.endOfHeaders),
      { say: Mta.endOfMessage("the end"), theirs: [], ours: ["Continue"] }
    ]
  },

  // --- the order of commands

  answering(
    "DATA again",
    ...greeted,
    ...go(Mta.mail("<data-reject@example.org>"), Mta.rcpt()),
    both(Mta.data, "Reject"),
    {
      say: Mta.data,
      theirs: [],
      ours: ["Continue"]
    },
    ...[Mta.header(), Mta.endOfHeaders, Mta.body(), Mta.endOfMessage()].map((say) => ({
      say,
      theirs: [],
      ours: ["Continue"]
    }))
  ),
  answering(
    "Commands after the last verdict on a message",
    ...greeted,
    both(Mta.mail("<do-discard@example.org>"), "Discard"),
    {
      say: Mta.rcpt(),
      theirs: [],
      ours: ["Discard"]
    },
    { say: Mta.endOfMessage(), theirs: [], ours: ["Discard"] }
  ),
  answering("Out of order", ...greeted, { say: Mta.rcpt(), theirs: [], ours: ["closes"] }),
  answering("Out of order", ...greeted, ...go(Mta.unknown()), {
    say: Mta.rcpt(),
    theirs: ["Continue"],
    ours: ["closes"]
  }),
  answering("Steps left out", ...envelope, ...go(Mta.header()), {
    say: Mta.endOfMessage(),
    theirs: [],
    ours: ["Continue"]
  }),
  answering("Before the negotiation", { say: Mta.macros("C", {}), theirs: [], ours: ["closes"] }),
  answering("Before the negotiation", { say: Mta.helo(), theirs: ["Continue"], ours: ["closes"] }),
  answering("A second negotiation", ...greeted, { say: Mta.negotiate(), theirs: [], ours: ["closes"] }),
  answering("A second connect", ...greeted, { say: Mta.connect(), theirs: [], ours: ["Continue"] }),
  answering("Quit for a new connection", ...greeted, ...go(Mta.mail()), both(Mta.quitNewConnection), {
    say: Mta.connect(),
    theirs: [],
    ours: ["Continue"]
  }),
  answering(
    "Messages of a session that was refused",
    negotiated("0x100400"),
    ...go(Mta.connect()),
    both(Mta.helo("do-reject"), "Reject"),
    { say: Mta.mail(), theirs: ["Continue"], ours: ["Reject"] }
  ),
  answering(
    "Messages of a session that was refused",
    negotiated("0x100400"),
    both(Mta.connect("do-accept"), "Accept"),
    { say: Mta.mail(), theirs: ["Continue"], ours: ["Accept"] }
  ),
  answering(
    "A refused recipient of local mail",
    negotiated("0x100400"),
    ...go(Mta.connect("localhost", "127.0.0.1", 0), Mta.mail("alice")),
    { say: Mta.rcpt("do-reject"), theirs: ["Reject"], ours: ["Continue"] },
    { say: Mta.data, theirs: ["Continue"], ours: ["Reject"] }
  ),

  // --- packets

  answering("A broken payload", ...envelope, {
    say: raw("L", "Subject\0"),
    theirs: ["closes"],
    ours: ["TempFail", "closes"]
  }),
  answering("A broken payload", negotiated("0x100400"), ...go(Mta.connect()), {
    say: raw("H", "client"),
    theirs: [],
    ours: ["TempFail", "closes"]
  }),
  answering("Large packets", ...envelope, {
    say: Mta.header("X-Large", " ".repeat(70_000)),
    theirs: ["closes"],
    ours: ["Continue"]
  }),
  {
    name: "Large packets",
    variant: "envelope",
    steps: [{
      say: Mta.negotiate({ steps: 0x1fffff | Step.payload1M }),
      theirs: ["Negotiated version=6 actions=0xff steps=0x100670 macros=[]"],
      ours: ["Negotiated version=6 actions=0xff steps=0x20100670 macros=[]"]
    }]
  },
  answering("A length of 0", ...greeted, { say: Uint8Array.of(0, 0, 0, 0, 0x41), theirs: [], ours: ["closes"] }),
  answering("An empty piece of the body", ...envelope, ...go(Mta.endOfHeaders), {
    say: Mta.body(""),
    theirs: ["closes"],
    ours: ["Continue"]
  }),
  answering("Addresses", negotiated("0x100400"), {
    say: Mta.connect("client", "192.513"),
    theirs: ["Continue"],
    ours: ["TempFail", "closes"]
  }),
  answering("Addresses", negotiated("0x100400"), {
    say: Mta.connect("client", "fe80::1%eth0"),
    theirs: ["closes"],
    ours: ["Continue"]
  }),
  answering(
    "Addresses",
    negotiated("0x100400"),
    ...go(Mta.connect("client", "::ffff:192.0.2.1", 25), Mta.mail(), Mta.rcpt(), Mta.data),
    ...go(Mta.header("X-Do", " client"), Mta.endOfHeaders),
    {
      say: Mta.endOfMessage(),
      theirs: [`AddHeader name="X-Client" value=" ::ffff:192.0.2.1 25", Continue`],
      ours: [`AddHeader name="X-Client" value=" 192.0.2.1 25", Continue`]
    }
  ),

  // --- negotiation and macros

  {
    name: "An offer of nothing",
    variant: "envelope",
    steps: [{
      say: Mta.negotiate({ actions: 0, steps: 0 }),
      theirs: ["Negotiated version=6 actions=0xf steps=0x30 macros=[]"],
      ours: ["Negotiated version=6 actions=0x0 steps=0x0 macros=[]"]
    }]
  },
  answering(
    "Macros of the message before",
    ...greeted,
    macros("M", { "{auth_type}": "PLAIN" }),
    ...go(Mta.mail(), Mta.rcpt(), Mta.data, Mta.endOfHeaders, Mta.endOfMessage()),
    macros("M", {}),
    ...go(Mta.mail(), Mta.rcpt(), Mta.data, Mta.header("X-Do", " macro {auth_type}"), Mta.endOfHeaders),
    {
      say: Mta.endOfMessage(),
      theirs: [`AddHeader name="X-Macro" value=" PLAIN", Continue`],
      ours: [`AddHeader name="X-Macro" value=" undefined", Continue`]
    },
    ...go(Mta.mail(), Mta.rcpt(), Mta.data, Mta.header("X-Do", " macro {auth_type}"), Mta.endOfHeaders),
    {
      say: Mta.endOfMessage(),
      theirs: [`AddHeader name="X-Macro" value=" PLAIN", Continue`],
      ours: [`AddHeader name="X-Macro" value=" undefined", Continue`]
    }
  ),
  answering(
    "Names of macros",
    ...greeted,
    macros("M", { "{auth_type}": "PLAIN" }),
    ...go(Mta.mail()),
    ...go(Mta.rcpt(), Mta.data, Mta.header("X-Do", " macro auth_type"), Mta.endOfHeaders),
    {
      say: Mta.endOfMessage(),
      theirs: [`AddHeader name="X-Macro" value=" undefined", Continue`],
      ours: [`AddHeader name="X-Macro" value=" PLAIN", Continue`]
    }
  ),
  answering(
    "Macros with headers and body",
    ...envelope,
    macros("L", { i: "1234" }),
    ...go(Mta.header("X-Do", " macro i"), Mta.endOfHeaders),
    {
      say: Mta.endOfMessage(),
      theirs: [`AddHeader name="X-Macro" value=" undefined", Continue`],
      ours: [`AddHeader name="X-Macro" value=" 1234", Continue`]
    }
  )
]
