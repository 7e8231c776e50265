/** The filter that collects a message and hands it to its author as a document. */
import * as Effect from "effect/Effect"
import type * as Scope from "effect/Scope"
import { InvalidValue } from "../../InvalidValue.ts"
import type { Capability, Editor } from "../../Modification.ts"
import type { Body, Envelope, Header, Mail, Session, Stage } from "../../Stage.ts"
import * as Verdict from "../../Verdict.ts"
import { checkKeys, checkNames, keysOf } from "../bytes/knownKeys.ts"
import { define } from "../filter/definition.ts"
import type { FailurePolicy } from "../filter/filterTypes.ts"
import { fromDefinitions } from "../filter/filterValue.ts"
import { Document, headOf, IncomingMessage, openSpool } from "./document.ts"
import type { Options as PublicOptions, Part } from "./documentTypes.ts"

/** Options and hooks without their types, which the public module has checked. */
export interface Options {
  readonly modify?: ReadonlyArray<Part>
  readonly body?: boolean
  readonly maxBytes?: number
  readonly tooLarge?: FailurePolicy | "truncate"
  readonly inMemory?: number
  readonly message?: (mail: Mail, at: unknown) => Effect.Effect<unknown, unknown>
}

type Hook = (event: unknown, at: unknown) => Effect.Effect<Verdict.Verdict, unknown>

export interface Hooks {
  readonly connect?: Hook
  readonly helo?: Hook
  readonly mail?: Hook
  readonly rcpt?: Hook
  readonly endOfHeaders?: Hook
  readonly document: (document: Document, at: unknown) => Effect.Effect<Verdict.OfMessage, unknown>
}

const optionNames = keysOf<PublicOptions<never, never, never, never, never, never, never, never>>({
  modify: true,
  macros: true,
  onDefect: true,
  refuseConnection: true,
  body: true,
  maxBytes: true,
  tooLarge: true,
  inMemory: true,
  connection: true,
  message: true
})

const hookNames = keysOf<Hooks>({
  connect: true,
  helo: true,
  mail: true,
  rcpt: true,
  endOfHeaders: true,
  document: true
})

/** What the engine gives hooks in addition to the event of a message. */
interface At {
  readonly session: Session
  readonly connection: unknown
  readonly message: IncomingMessage
  readonly envelope: Envelope
  readonly edit: Editor
}

const capabilities: { readonly [K in Part]: ReadonlyArray<Capability> } = {
  headers: ["addHeader", "insertHeader", "changeHeader", "deleteHeader"],
  body: ["replaceBody"],
  mime: ["addHeader", "insertHeader", "changeHeader", "deleteHeader", "replaceBody"],
  recipients: ["addRecipient", "deleteRecipient"],
  sender: ["changeSender"],
  quarantine: ["quarantine"]
}

const tooLargeReply = Verdict.reject({ code: "552", enhanced: "5.3.4", text: "The message is too large" })

export const make = (name: string, given: Options, hooks: Hooks): unknown => {
  const { body = true, inMemory, maxBytes = Infinity, message: build, modify = [], tooLarge, ...others } = given
  checkKeys(`option of ${name}`, given, optionNames)
  checkKeys(`hook of ${name}`, hooks, hookNames)
  checkNames(`modify of ${name}`, modify, Object.keys(capabilities))
  if (!body && modify.includes("mime")) {
    throw new InvalidValue({ what: "filter", value: name, reason: "expected a body, since modify has \"mime\"" })
  }
  const isLimited = maxBytes < Infinity
  const truncates = tooLarge === "truncate"
  if (truncates) checkTruncation(name, { body, isLimited, modify })
  const onTooLarge = tooLarge === "pass"
    ? Verdict.acceptMessage
    : tooLarge === undefined || tooLarge === "truncate"
    ? tooLargeReply
    : tooLarge

  const incoming = Effect.fnUntraced(
    function*(mail: Mail, at: unknown): Effect.fn.Return<IncomingMessage, unknown, Scope.Scope> {
      const spool = body ? yield* openSpool(inMemory) : undefined
      const state = build === undefined ? undefined : yield* build(mail, at)
      return new IncomingMessage(state, spool, maxBytes, truncates)
    }
  )

  const answers: { [K in Stage]?: unknown } = {}
  const observes: { [K in Stage]?: unknown } = {}
  const { connect, document, endOfHeaders, helo, mail, rcpt } = hooks

  if (connect !== undefined) answers.connect = connect
  if (helo !== undefined) answers.helo = helo
  const refusesSize = isLimited && !truncates
  if (refusesSize || mail !== undefined) {
    answers.mail = (event: Mail, at: At) =>
      refusesSize && (event.parameters.size ?? 0) > maxBytes
        ? Effect.succeed(onTooLarge)
        : mail?.(event, visible(at)) ?? goOn
  }
  if (rcpt !== undefined) answers.rcpt = (event: unknown, at: At) => rcpt(event, visible(at))

  observes.header = (header: Header, at: At) => {
    at.message.header(header, at.session)
    return Effect.void
  }
  if (endOfHeaders !== undefined) {
    answers.endOfHeaders = (_: unknown, at: At) =>
      at.message.isTooLarge ? Effect.succeed(onTooLarge) : endOfHeaders(headOf(at.message, at.envelope), visible(at))
  }
  if (body && isLimited) {
    // An answer to each piece spares the MTA the rest of a message that is too large.
    answers.body = ({ bytes }: Body, { message }: At) =>
      Effect.map(
        message.body(bytes),
        () => message.isTooLarge ? onTooLarge : message.isTruncated ? Verdict.skipBody : Verdict.continue
      )
  } else if (body) observes.body = ({ bytes }: Body, { message }: At) => message.body(bytes)

  answers.endOfMessage = (_: unknown, at: At) => {
    if (at.message.isTooLarge) return Effect.succeed(onTooLarge)
    const whole = new Document(at.message, at.envelope, inMemory)
    return Effect.tap(
      document(whole, visible(at)),
      (verdict) =>
        verdict._tag === "Continue" || verdict._tag === "AcceptMessage"
          ? whole.commit(at.edit, at.session)
          : Effect.void
    )
  }

  const options = { ...others, message: incoming, modify: [...new Set(modify.flatMap((part) => capabilities[part]))] }
  return fromDefinitions([define(name, options, answers, observes)])
}

/** Refuses to truncate where a part of the body is not enough, or where nothing would be cut. */
const checkTruncation = (
  name: string,
  { body, isLimited, modify }: {
    readonly body: boolean
    readonly isLimited: boolean
    readonly modify: ReadonlyArray<Part>
  }
): void => {
  const edited = modify.find((part) => part === "body" || part === "mime")
  const reason = edited !== undefined
    ? `expected no "${edited}" in modify: an edit of a truncated body would lose the rest of it`
    : !body
    ? "expected a body"
    : !isLimited
    ? "expected maxBytes"
    : undefined
  if (reason === undefined) return
  throw new InvalidValue({ what: "filter", value: name, reason: `${reason} (tooLarge is "truncate")` })
}

const goOn = Effect.succeed(Verdict.continue)

/** What hooks see: their author's own state, in place of the incoming that holds it. */
const visible = ({ connection, envelope, message, session }: At): unknown => ({
  session,
  connection,
  envelope,
  message: message.state
})
