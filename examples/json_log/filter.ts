/** Writes a line of JSON about each message, and leaves the mail as it is. */
import * as Milter from "effect-milter/Milter"
import type * as Stage from "effect-milter/Stage"
import * as Clock from "effect/Clock"
import * as Effect from "effect/Effect"
import * as Option from "effect/Option"
import { createHash } from "node:crypto"
import { jsonLine } from "../support/jsonLine.ts"
import { Sink } from "./sink.ts"

/** Options of {@link jsonLog}. */
export interface Options {
  /** The header fields to log, by name in any case. */
  readonly headers: ReadonlyArray<string>
}

// An address has 320 characters at most.
const longestText = 1000

/** What is gathered about a message while it goes by. */
const makeEntry = ({ sender }: Stage.Mail, session: Stage.Session, started: number) => {
  const { client, heloName, hostname, id, macros: { authentication, queueId, tls } } = session
  return {
    started,
    stage: "mail" as Stage.Stage,
    queueId,
    // These are the same for the whole message.
    head: {
      session: id,
      client: { address: String(client), hostname },
      helo: heloName,
      tls: tls && { version: tls.version, cipher: tls.cipher },
      auth: authentication && { type: authentication.type, login: authentication.login },
      sender: sender.address
    },
    recipients: [] as Array<string>,
    refused: [] as Array<{ readonly address: string; readonly enhanced: string; readonly text: string }>,
    headers: {} as { [name: string]: Array<string> },
    headerBytes: 0,
    bodyBytes: 0,
    body: createHash("sha256")
  }
}

type Entry = ReturnType<typeof makeEntry>

const lineOf = (entry: Entry, outcome: string, now: number): string => {
  const { body, bodyBytes, head, headerBytes, headers, queueId, recipients, refused, stage, started } = entry
  return jsonLine({
    time: new Date(now).toISOString(),
    // Passed on to the MTA, which may still refuse it; or given up at that stage: reset, disconnected, refused by others.
    outcome,
    stage,
    queueId,
    ...head,
    recipients,
    refused,
    headers,
    headerBytes,
    bodyBytes,
    bodySha256: stage === "endOfMessage" ? body.digest("hex") : undefined,
    milliseconds: now - started
  }, longestText)
}

/**
 * Watches, and answers nothing: where the MTA allows it (Postfix 2.6, Sendmail 8.14 and later), it does not even wait for
 * these hooks. The line is written when the message is over.
 */
export const jsonLog = ({ headers }: Options) => {
  const wanted = new Set(headers.map((name) => name.toLowerCase()))
  /** An observer that keeps what it sees. */
  const note =
    <Event>(stage: Stage.Stage, keep: (entry: Entry, event: Event) => void = () => undefined) =>
    (event: Event, { message, session }: { readonly message: Entry; readonly session: Stage.Session }) =>
      Effect.sync(() => {
        message.stage = stage
        // Postfix has it from the first recipient on.
        message.queueId ??= session.macros.queueId
        keep(message, event)
      })
  return Milter.make("json_log", {
    rejectedRecipients: true,
    message: (mail, { session }) =>
      Effect.gen(function*() {
        const sink = yield* Sink
        const entry = makeEntry(mail, session, yield* Clock.currentTimeMillis)
        yield* Effect.addFinalizer((exit) =>
          Effect.flatMap(
            Clock.currentTimeMillis,
            (now) => sink.write(lineOf(entry, Option.isSome(Milter.outcome(exit)) ? "passed" : "aborted", now))
          )
        )
        return entry
      })
  }).on({}, {
    rcpt: note<Stage.Rcpt>("rcpt", ({ recipients }, { recipient }) => recipients.push(recipient.address)),
    rejectedRecipient: note<Stage.RejectedRecipient>(
      "rcpt",
      ({ refused }, { enhanced, recipient, text }) => refused.push({ address: recipient.address, enhanced, text })
    ),
    data: note("data"),
    header: note<Stage.Header>("header", (entry, { name, raw, value }) => {
      const { headers } = entry
      entry.headerBytes += name.length + raw.length + 4
      const key = name.toLowerCase()
      if (wanted.has(key)) (headers[key] ??= []).push(value)
    }),
    endOfHeaders: note("endOfHeaders"),
    body: note<Stage.Body>("body", (entry, { bytes }) => {
      entry.bodyBytes += bytes.length
      entry.body.update(bytes)
    }),
    endOfMessage: note("endOfMessage")
  })
}
