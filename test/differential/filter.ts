/**
 * The filter of filter.c once more, with this library. What it answers depends on nothing but the bytes of the session.
 *
 * A wish is a prefix and a word of lower-case letters and digits. `do-` in the hostname, the HELO name, sender,
 * recipient, header name, body piece or unknown line is one for that stage; `data-`, `eoh-` and `eom-` in the sender are
 * for the stages that have no input of their own. Words: `accept`, `reject`, `tempfail`, `discard`, `skip` (`rawskip`:
 * without looking whether the MTA can), `reply550`, `multi451` and so on; `eom-latereject` makes the changes first.
 * Where a word is not legal it means continue.
 *
 * The value of a field `X-Do` is a modification: see `edits`. A field X-Seen with a digest of all that the hooks have
 * received goes out first.
 */
import type * as ClientAddress from "effect-milter/ClientAddress"
import * as Milter from "effect-milter/Milter"
import type * as Modification from "effect-milter/Modification"
import { Step } from "effect-milter/Negotiation"
import type * as Reply from "effect-milter/Reply"
import type * as Stage from "effect-milter/Stage"
import * as Verdict from "effect-milter/Verdict"
import { ByteString } from "effect-milter/Wire"
import * as Effect from "effect/Effect"
import * as Option from "effect/Option"
import { capabilities } from "../support/names.ts"

// --- what has been seen

const start = 2166136261

/** FNV-1a over bytes. */
const hashBytes = (hash: number, bytes: Uint8Array): number => {
  for (let index = 0; index < bytes.length; index++) hash = Math.imul(hash ^ bytes[index]!, 16777619)
  return hash
}

/** The same over a string of bytes and a NUL. */
const hashString = (hash: number, bytes: string): number => {
  for (let index = 0; index < bytes.length; index++) hash = Math.imul(hash ^ bytes.charCodeAt(index), 16777619)
  return Math.imul(hash, 16777619)
}

const hashStrings = (hash: number, strings: ReadonlyArray<string>): number => strings.reduce(hashString, hash)

const hex = (hash: number): string => (hash >>> 0).toString(16).padStart(8, "0")

const where = (client: ClientAddress.ClientAddress): string =>
  client._tag === "Unknown" ? "unknown" : client._tag === "Unix" ? client.path : `${client.address} ${client.port}`

/** State of a connection: the one thing that `Session` does not keep byte for byte. */
interface Connection {
  helo: string | undefined
}

interface Message {
  /** Only for the first DATA: a client may try again. */
  data: string
  readonly endOfHeaders: string
  readonly endOfMessage: string
  readonly edits: Array<string>
  refused: number
  refusedHash: number
  fields: number
  fieldsHash: number
  headersEnded: number
  body: number
  bodyHash: number
}

const newMessage = (mail: Stage.Mail): Message => ({
  data: wish(mail.sender.raw, "data-"),
  endOfHeaders: wish(mail.sender.raw, "eoh-"),
  endOfMessage: wish(mail.sender.raw, "eom-"),
  edits: [],
  refused: 0,
  refusedHash: start,
  fields: 0,
  fieldsHash: start,
  headersEnded: 0,
  body: 0,
  bodyHash: start
})

// --- wishes

const wish = (bytes: string, prefix: string): string => {
  const found = bytes.indexOf(prefix)
  return found === -1 ? "" : /^[a-z0-9]{0,15}/.exec(bytes.slice(found + prefix.length))![0]
}

const onlyAccept = { accept: Verdict.acceptConnection }
const ofMessage = { accept: Verdict.acceptMessage, discard: Verdict.discardMessage }
const ofBody = { ...ofMessage, skip: Verdict.skipBody, rawskip: Verdict.skipBody }
const nothingMore: { readonly [word: string]: Verdict.Basic } = {}

const texts: { readonly [kind: string]: (stage: string) => string | ReadonlyArray<string> } = {
  reply: (stage) => `${stage} says 100% no`,
  multi: (stage) => [`${stage} says no`, "", "and means 100% no"],
  long: () => "xxxxxxxxx ".repeat(60),
  percent: () => "100% sure",
  bare: () => "no status"
}

const reply = (word: string, stage: string): Verdict.Basic => {
  const [, kind = "", code = ""] = /^([a-z]+)(\d\d\d)$/.exec(word) ?? []
  const text = texts[kind]?.(stage)
  if (text === undefined) return Verdict.continue
  // Three digits the pattern has checked; a second one above 5 is a defect, as it should be.
  const by = code[0]
  if (kind === "bare") {
    if (by === "5") return Verdict.reject({ code: code as Reply.Code<"5">, text })
    return by === "4" ? Verdict.tempFail({ code: code as Reply.Code<"4">, text }) : Verdict.continue
  }
  if (by === "5") return Verdict.reject({ code: code as Reply.Code<"5">, enhanced: "5.7.1", text })
  return by === "4" ? Verdict.tempFail({ code: code as Reply.Code<"4">, enhanced: "4.7.1", text }) : Verdict.continue
}

/** The verdict for a word. Every other one takes a turn of the scheduler, so that commands have to wait for their hooks. */
const answer = <V extends Verdict.Verdict>(
  word: string,
  stage: string,
  legal: { readonly [word: string]: V },
  length = word.length
): Effect.Effect<V | Verdict.Basic> => {
  const verdict = word === "reject"
    ? Verdict.reject()
    : word === "tempfail"
    ? Verdict.tempFail()
    : legal[word] ?? reply(word, stage)
  return length % 2 === 1 ? Effect.as(Effect.yieldNow, verdict) : Effect.succeed(verdict)
}

// --- modifications

type Capability = Modification.Capability
type Edit = Modification.EditorOf<never, Capability>

const cut = (text: string): readonly [word: string, rest: string] => {
  const end = text.indexOf(" ")
  return end === -1 ? [text, ""] : [text.slice(0, end), text.slice(end + 1)]
}

const using = <A>(method: Option.Option<A>, use: (method: A) => Effect.Effect<void>): Effect.Effect<void> =>
  Option.match(method, { onNone: () => Effect.void, onSome: use })

const edits: {
  readonly [verb: string]: (edit: Edit, rest: string, session: Stage.Session) => Effect.Effect<void>
} = {
  add: (edit, rest) => {
    const [name, value] = cut(rest)
    return using(edit.addHeader, (add) => add(name, value))
  },
  insert: (edit, rest) => {
    const [index, field] = cut(rest)
    const [name, value] = cut(field)
    return using(edit.insertHeader, (insert) => insert(Number(index), name, value))
  },
  change: (edit, rest) => {
    const [index, field] = cut(rest)
    const [name, value] = cut(field)
    return using(edit.changeHeader, (change) => change(name, Number(index), value))
  },
  delete: (edit, rest) => {
    const [index, name] = cut(rest)
    return using(edit.deleteHeader, (remove) => remove(name, Number(index)))
  },
  macro: (edit, rest, session) =>
    using(edit.addHeader, (add) => add("X-Macro", session.macros.get(rest) ?? "undefined")),
  client: (edit, _, session) => using(edit.addHeader, (add) => add("X-Client", where(session.client))),
  addrcpt: (edit, rest) => using(edit.addRecipient, (add) => add(rest)),
  barercpt: (edit, rest) => using(edit.addRecipient, (add) => add(rest)),
  addrcptpar: (edit, rest) => using(edit.addRecipientWithParameters, (add) => add(...cut(rest))),
  delrcpt: (edit, rest) => using(edit.deleteRecipient, (remove) => remove(rest)),
  from: (edit, rest) => {
    const [address, parameters] = cut(rest)
    return using(edit.changeSender, (change) => parameters === "" ? change(address) : change(address, parameters))
  },
  quarantine: (edit, rest) => using(edit.quarantine, (quarantine) => quarantine(rest)),
  body: (edit, rest) =>
    using(edit.replaceBody, (replace) => replace(Uint8Array.from({ length: Number(rest) }, (_, index) => index % 251)))
}

const asOptional = (edit: Modification.EditorOf<Capability, never>): Edit => ({
  addHeader: Option.some(edit.addHeader),
  insertHeader: Option.some(edit.insertHeader),
  changeHeader: Option.some(edit.changeHeader),
  deleteHeader: Option.some(edit.deleteHeader),
  replaceBody: Option.some(edit.replaceBody),
  addRecipient: Option.some(edit.addRecipient),
  addRecipientWithParameters: Option.some(edit.addRecipientWithParameters),
  deleteRecipient: Option.some(edit.deleteRecipient),
  changeSender: Option.some(edit.changeSender),
  quarantine: Option.some(edit.quarantine)
})

const connectHash = (session: Stage.Session): number =>
  hashStrings(start, [ByteString.fromText(session.hostname), where(session.client)])

const macroNames = [
  "j",
  "_",
  "i",
  "v",
  "{daemon_name}",
  "{client_addr}",
  "{tls_version}",
  "{cipher}",
  "{auth_type}",
  "{auth_authen}",
  "{mail_addr}",
  "{mail_host}",
  "{mail_mailer}",
  "{rcpt_addr}",
  "{rcpt_host}",
  "{rcpt_mailer}",
  "{msg_id}"
]

const seen = (
  { connection, envelope, message, session }: {
    readonly session: Stage.Session
    readonly connection: Connection
    readonly message: Message
    readonly envelope: Stage.Envelope
  }
): string => {
  const { parameters, recipients, sender } = envelope
  const helo = connection.helo === undefined ? start : hashString(start, connection.helo)
  const mail = hashStrings(start, [sender.raw, ...parameters.raw])
  const rcpt = hashStrings(
    start,
    recipients.flatMap(({ parameters, recipient }): ReadonlyArray<string> => [recipient.raw, ...parameters.raw])
  )
  const macros = hashStrings(
    start,
    macroNames.flatMap((name) => {
      const value = session.macros.raw(name)
      return value === undefined ? [] : [name, value]
    })
  )
  return `connect=${hex(connectHash(session))} helo=${hex(helo)} mail=${hex(mail)} ` +
    `rcpt=${recipients.length}:${hex(rcpt)} refused=${message.refused}:${hex(message.refusedHash)} ` +
    `header=${message.fields}:${hex(message.fieldsHash)} eoh=${message.headersEnded} ` +
    `body=${message.body}:${hex(message.bodyHash)} macros=${hex(macros)}`
}

// --- hooks

interface AtMessage {
  readonly message: Message
}

const hooks = {
  connect: ({ hostname }: Stage.Connect) => answer(wish(hostname, "do-"), "connect", onlyAccept, hostname.length),
  helo: ({ raw }: Stage.Helo, { connection }: { readonly connection: Connection }) => {
    connection.helo = raw
    return answer(wish(raw, "do-"), "helo", onlyAccept, raw.length)
  },
  mail: ({ sender }: Stage.Mail) => answer(wish(sender.raw, "do-"), "mail", ofMessage, sender.raw.length),
  rcpt: ({ recipient }: Stage.Rcpt) => answer(wish(recipient.raw, "do-"), "rcpt", ofMessage, recipient.raw.length),
  data: (_: Stage.Data, { message }: AtMessage) => {
    const word = message.data
    message.data = ""
    return answer(word, "data", ofMessage)
  },
  header: ({ name, raw, value }: Stage.Header, { message }: AtMessage) => {
    message.fields++
    message.fieldsHash = hashStrings(message.fieldsHash, [name, raw])
    if (name.toLowerCase() === "x-do" && message.edits.length < 32) message.edits.push(value)
    return answer(wish(name, "do-"), "header", ofMessage, raw.length)
  },
  endOfHeaders: (_: Stage.EndOfHeaders, { message }: AtMessage) => {
    message.headersEnded++
    return answer(message.endOfHeaders, "end of headers", ofMessage)
  },
  body: ({ bytes }: Stage.Body, { message }: AtMessage) => {
    message.body += bytes.length
    message.bodyHash = hashBytes(message.bodyHash, bytes)
    return answer(wish(ByteString.fromBytes(bytes), "do-"), "body", ofBody, bytes.length)
  },
  endOfMessage: Effect.fnUntraced(function*(
    _: Stage.EndOfMessage,
    at: AtMessage & {
      readonly session: Stage.Session
      readonly connection: Connection
      readonly envelope: Stage.Envelope
      readonly edit: Edit
    }
  ) {
    const { edit, message, session } = at
    const late = message.endOfMessage.startsWith("late")
    const verdict = yield* answer(
      late ? message.endOfMessage.slice(4) : message.endOfMessage,
      "end of message",
      ofMessage
    )
    if (late || verdict._tag === "Continue" || verdict._tag === "AcceptMessage") {
      yield* using(edit.addHeader, (add) => add("X-Seen", seen(at)))
      for (const wished of message.edits) {
        const [verb, rest] = cut(wished)
        yield* edits[verb]?.(edit, rest, session) ?? Effect.void
      }
    }
    return verdict
  }),
  unknown: ({ raw }: Stage.Unknown) => answer(wish(raw, "do-"), "unknown", nothingMore, raw.length)
}

const rejectedRecipient = (
  { enhanced, parameters, recipient, text }: Stage.RejectedRecipient,
  { message }: AtMessage
): Effect.Effect<void> =>
  Effect.sync(() => {
    message.refused++
    message.refusedHash = hashStrings(message.refusedHash, [
      recipient.raw,
      ...parameters.raw,
      ByteString.fromText(enhanced),
      ByteString.fromText(text)
    ])
  })

const watching = <E, A>(hook: (event: E, at: A) => Effect.Effect<Verdict.Verdict>) => (event: E, at: A) =>
  Effect.asVoid(hook(event, at))

// --- variants

const state = {
  connection: (): Effect.Effect<Connection> => Effect.sync(() => ({ helo: undefined })),
  message: (mail: Stage.Mail): Effect.Effect<Message> => Effect.sync(() => newMessage(mail))
}

/** A filter in both languages: the bits tell libmilter what hooks and options tell this library. */
export interface Variant {
  readonly filter: Milter.Filter<never, never>
  readonly steps: number
  readonly actions: number
  /** What else is told to the filter in C. */
  readonly mode: "" | "macros" | "demanding"
}

const every = 0xff
const always = Step.skip | Step.leadingSpace

export type VariantName = "answering" | "watching" | "envelope" | "mixed" | "usual" | "demanding" | "macros"

export const variants: { readonly [K in VariantName]: Variant } = {
  /** Takes and answers everything. */
  answering: {
    filter: Milter.make("answering", { ...state, modifyIfOffered: capabilities }).on(hooks),
    steps: always,
    actions: every,
    mode: ""
  },
  /** Takes everything, answers only what has to be. */
  watching: {
    filter: Milter.make("watching", { ...state, modifyIfOffered: capabilities }).on({
      mail: hooks.mail,
      endOfMessage: hooks.endOfMessage
    }, {
      connect: watching(hooks.connect),
      helo: watching(hooks.helo),
      rcpt: watching(hooks.rcpt),
      data: watching(hooks.data),
      header: watching(hooks.header),
      endOfHeaders: watching(hooks.endOfHeaders),
      body: watching(hooks.body),
      unknown: watching(hooks.unknown)
    }),
    steps: always | Step.noReplyConnect | Step.noReplyHelo | Step.noReplyRcpt | Step.noReplyData |
      Step.noReplyHeader | Step.noReplyEndOfHeaders | Step.noReplyBody | Step.noReplyUnknown,
    actions: every,
    mode: ""
  },
  /** Does not take the content. */
  envelope: {
    filter: Milter.make("envelope", { ...state, modifyIfOffered: capabilities }).on({
      connect: hooks.connect,
      helo: hooks.helo,
      mail: hooks.mail,
      rcpt: hooks.rcpt,
      endOfMessage: hooks.endOfMessage,
      unknown: hooks.unknown
    }),
    steps: always | Step.noData | Step.noHeaders | Step.noEndOfHeaders | Step.noBody,
    actions: every,
    mode: ""
  },
  /** Some of all, and the recipients that the MTA has refused. */
  mixed: {
    filter: Milter.make("mixed", { ...state, modifyIfOffered: capabilities, rejectedRecipients: true }).on({
      helo: hooks.helo,
      mail: hooks.mail,
      rcpt: hooks.rcpt,
      header: hooks.header,
      endOfMessage: hooks.endOfMessage
    }, {
      endOfHeaders: watching(hooks.endOfHeaders),
      rejectedRecipient
    }),
    steps: always | Step.noReplyConnect | Step.noData | Step.noReplyEndOfHeaders | Step.noBody | Step.noUnknown |
      Step.rejectedRecipients,
    actions: every,
    mode: ""
  },
  /** What most filters want. */
  usual: {
    filter: Milter.make("usual", { ...state, modifyIfOffered: capabilities }).on({
      connect: hooks.connect,
      mail: hooks.mail,
      rcpt: hooks.rcpt,
      data: hooks.data,
      header: hooks.header,
      body: hooks.body,
      endOfMessage: hooks.endOfMessage
    }, { helo: watching(hooks.helo) }),
    steps: always | Step.noReplyHelo | Step.noEndOfHeaders | Step.noUnknown,
    actions: every,
    mode: ""
  },
  /** Closes where it may not do all it wants to. */
  demanding: {
    filter: Milter.make("demanding", { ...state, modify: capabilities }).on({
      mail: hooks.mail,
      header: hooks.header,
      endOfMessage: (event, at) => hooks.endOfMessage(event, { ...at, edit: asOptional(at.edit) })
    }, { connect: watching(hooks.connect), helo: watching(hooks.helo), rcpt: watching(hooks.rcpt) }),
    steps: always | Step.noReplyConnect | Step.noReplyHelo | Step.noReplyRcpt | Step.noData | Step.noEndOfHeaders |
      Step.noBody | Step.noUnknown,
    actions: every,
    mode: "demanding"
  },
  /** Asks for macros, and looks at the body but not at the header. */
  macros: {
    filter: Milter.make("macros", {
      ...state,
      modifyIfOffered: capabilities,
      macros: {
        connect: ["j", "client_addr"],
        rcpt: ["{rcpt_addr}"],
        endOfHeaders: ["i"],
        endOfMessage: ["i", "{msg_id}"]
      }
    }).on({
      connect: hooks.connect,
      helo: hooks.helo,
      mail: hooks.mail,
      rcpt: hooks.rcpt,
      data: hooks.data,
      body: hooks.body,
      endOfMessage: hooks.endOfMessage
    }),
    steps: always | Step.noHeaders | Step.noEndOfHeaders | Step.noUnknown,
    actions: every,
    mode: "macros"
  }
}
