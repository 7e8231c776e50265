/** Clients that send each message until it is accepted, as an MTA does: several messages in a session, several sessions at a time. */
import * as Effect from "effect/Effect"
import type * as Postfix from "../../../testbed/postfix.ts"
import * as SmtpClient from "../../../testbed/smtpClient.ts"

const message = (from: string): string =>
  SmtpClient.crlf(`From: <${from}>
To: <bob@test.example>
Subject: hello
Date: Mon, 01 Jan 2024 00:00:00 +0000
Message-ID: <${from}>

Hello, Bob.
`)

export interface Load {
  /** Replies that were neither a refusal for now nor an acceptance. */
  readonly refused: ReadonlyArray<string>
  /** How often a message was put off, or its connection ended. */
  readonly putOff: number
}

/** Takes one sender after the other, for a message each. `onAccepted` gets the number of accepted messages, after each one. */
export const send = Effect.fnUntraced(function*(
  port: number,
  senders: Iterable<string>,
  perSession: number,
  onAccepted: (count: number) => void = () => undefined
) {
  const fresh = senders[Symbol.iterator]()
  const again: Array<string> = []
  const take = (): string | undefined => again.shift() ?? fresh.next().value
  const refused: Array<string> = []
  let putOff = 0
  let accepted = 0
  const state = { isDone: false }
  const session = Effect.gen(function*() {
    const client = yield* SmtpClient.connect(port)
    for (let sent = 0; sent < perSession; sent++) {
      const from = take()
      if (from === undefined) {
        state.isDone = true
        break
      }
      const result = yield* client.sendMail({ from, to: "bob@test.example", message: message(from) })
      if (result.accepted) {
        onAccepted(++accepted)
        continue
      }
      if (result.last.code >= 500) {
        refused.push(result.last.text)
        continue
      }
      putOff++
      again.push(from)
      state.isDone = false
      if (result.last.ended !== undefined || result.last.code === 421) break
    }
    yield* client.quit
  })
  const sender = Effect.gen(function*() {
    while (!state.isDone) yield* Effect.scoped(Effect.exit(session))
  })
  yield* Effect.forEach([1, 2, 3, 4, 5, 6], () => sender, { concurrency: "unbounded", discard: true })
  return { putOff, refused } satisfies Load
})

export const numbered = (name: string, count: number): ReadonlyArray<string> =>
  Array.from({ length: count }, (_, number) => `${name}-${number}@example.org`)

/** What has been delivered of these senders, when all is. */
export const deliveredOf = (postfix: Postfix.Instance, name: string) =>
  Effect.map(postfix.awaitIdle(60_000), (all) => all.filter(({ sender }) => sender.startsWith(name)))
