/**
 * SMTP clients that send through a real Postfix while something goes wrong, and the account of what came of their messages:
 * in = delivered + refused + discarded + temp-failed + broken off, each as decided.
 */
import { assert } from "@effect/vitest"
import * as Effect from "effect/Effect"
import * as Fiber from "effect/Fiber"
import * as Net from "node:net"
import * as Postfix from "../../../testbed/postfix.ts"
import * as SmtpClient from "../../../testbed/smtpClient.ts"
import type { Random } from "../../support/random.ts"

/** As the deciding filter is to decide, by the first word of the sender. */
const kinds = ["fine", "fine", "fine", "fine", "early", "late", "swallow"] as const

interface Sent {
  readonly kind: typeof kinds[number]
  readonly sender: string
  /** `brokenOff`: the client's connection ended; `unanswered`: it ended after the whole message was sent. */
  readonly outcome: "accepted" | "refused" | "tempFailed" | "brokenOff" | "unanswered"
  readonly text: string
}

const message = (sender: string, length: number): string =>
  SmtpClient.crlf(`From: <${sender}>
To: <bob@test.example>
Subject: chaos
Date: Mon, 01 Jan 2024 00:00:00 +0000
Message-ID: <${sender}>

${`${"x".repeat(70)}\n`.repeat(Math.ceil(length / 71))}`)

const outcomeOf = ({ accepted, data, last, message }: SmtpClient.MailResult): Sent["outcome"] => {
  if (last.ended !== undefined) return message === undefined || data === undefined ? "brokenOff" : "unanswered"
  return accepted ? "accepted" : last.code >= 500 ? "refused" : "tempFailed"
}

/** One client: message after message, several to a connection, until `isDone`. */
const client = Effect.fnUntraced(function*(
  port: number,
  name: string,
  random: Random,
  sent: Array<Sent>,
  isDone: () => boolean
) {
  let number = 0
  while (!isDone()) {
    yield* Effect.scoped(Effect.gen(function*() {
      const connection = yield* SmtpClient.connect(port)
      // A process that was killed before its greeting.
      if (connection.greeting.code !== 220) return yield* Effect.sleep(20)
      for (let left = random.between(1, 8); left > 0 && !isDone(); left--) {
        const kind = random.pick(kinds)
        const sender = `${kind}-${name}-${++number}@example.org`
        const text = message(sender, random.pick([100, 1000, 200_000]))
        const result = yield* connection.sendMail({ from: sender, to: "bob@test.example", message: text })
        const outcome = outcomeOf(result)
        sent.push({ kind, sender, outcome, text: result.last.text })
        if (outcome === "brokenOff" || outcome === "unanswered") return
        if (outcome !== "accepted") {
          if ((yield* connection.command("RSET")).code !== 250) return
          // Not as fast as an MTA without its filter can say so.
          if (outcome === "tempFailed") yield* Effect.sleep(50)
        }
      }
      yield* connection.quit
    }))
  }
})

/** What came of the messages. */
export interface Account {
  readonly in: number
  readonly delivered: number
  readonly refused: number
  readonly discarded: number
  readonly tempFailed: number
  /** Of these the client does not know what became of them: its MTA died. */
  readonly brokenOff: number
}

/** Sends with several clients while `disturb` runs, then takes stock. Fails if a message was lost or let through. */
export const run = Effect.fnUntraced(function*<E, R>(
  postfix: Postfix.Instance,
  random: Random,
  name: string,
  disturb: Effect.Effect<void, E, R>
) {
  const sent: Array<Sent> = []
  let done = false
  const clients = yield* Effect.forEach(
    Array.from({ length: 6 }, (_, index) => index),
    (index) => Effect.forkChild(client(postfix.port, `${name}-${index}`, random, sent, () => done))
  )
  yield* disturb
  done = true
  yield* Fiber.joinAll(clients)
  const delivered = yield* postfix.awaitIdle(60_000)
  yield* postfix.clear
  return check(sent, delivered)
})

const check = (sent: ReadonlyArray<Sent>, delivered: ReadonlyArray<Postfix.Delivered>): Account => {
  const copies = new Map<string, number>()
  for (const mail of delivered) {
    copies.set(mail.sender, (copies.get(mail.sender) ?? 0) + 1)
    assert.deepStrictEqual(Postfix.headerValues(mail, "X-Filtered"), [mail.sender], "unfiltered")
  }
  const count = { in: sent.length, delivered: 0, refused: 0, discarded: 0, tempFailed: 0, brokenOff: 0 }
  for (const { kind, outcome, sender, text } of sent) {
    const found = copies.get(sender) ?? 0
    copies.delete(sender)
    const what = `${sender}: ${outcome} (${text})`
    switch (outcome) {
      case "accepted":
        // Early and late are refused whenever the filter is asked: an acceptance would have passed it by.
        assert.include(["fine", "swallow"], kind, what)
        assert.strictEqual(found, kind === "fine" ? 1 : 0, what)
        if (kind === "fine") count.delivered++
        else count.discarded++
        break
      case "refused":
        assert.include(["early", "late"], kind, what)
        assert.strictEqual(text, `550 5.7.1 refused: ${sender}`)
        assert.strictEqual(found, 0, what)
        count.refused++
        break
      case "tempFailed":
        assert.strictEqual(found, 0, what)
        count.tempFailed++
        break
      case "brokenOff":
        assert.strictEqual(found, 0, what)
        count.brokenOff++
        break
      case "unanswered":
        // The MTA may have died between the queue and its answer.
        assert.isAtMost(found, kind === "fine" ? 1 : 0, what)
        count.brokenOff++
    }
  }
  assert.deepStrictEqual(Array.from(copies.keys()), [], "delivered, and nobody sent it")
  return count
}

export const sum = (accounts: ReadonlyArray<Account>): Account =>
  accounts.reduce((all, one) => ({
    in: all.in + one.in,
    delivered: all.delivered + one.delivered,
    refused: all.refused + one.refused,
    discarded: all.discarded + one.discarded,
    tempFailed: all.tempFailed + one.tempFailed,
    brokenOff: all.brokenOff + one.brokenOff
  }))

/**
 * A network between MTA and filter. `cut` ends all connections at once, without a word to either side; `hold` passes nothing on
 * until `heal`, and nobody is told.
 */
export interface Network {
  readonly port: number
  readonly cut: Effect.Effect<void>
  readonly hold: Effect.Effect<void>
  readonly heal: Effect.Effect<void>
}

export const network = Effect.fnUntraced(function*(path: string) {
  const sockets = new Set<Net.Socket>()
  let held = false
  const join = (from: Net.Socket, to: Net.Socket): void => {
    sockets.add(from)
    from.on("data", (chunk) => void to.write(chunk))
    from.on("end", () => to.end())
    from.on("error", () => undefined)
    from.on("close", () => {
      sockets.delete(from)
      to.destroy()
    })
    if (held) from.pause()
  }
  const server = Net.createServer((mta) => {
    const filter = Net.connect({ path })
    join(mta, filter)
    join(filter, mta)
  })
  yield* Effect.acquireRelease(
    Effect.callback<void>((resume) => void server.listen(0, "127.0.0.1", () => resume(Effect.void))),
    () =>
      Effect.sync(() => {
        server.close()
        for (const socket of sockets) socket.destroy()
      })
  )
  const address = server.address()
  const made: Network = {
    port: typeof address === "object" && address !== null ? address.port : 0,
    cut: Effect.sync(() => {
      // UNIX sockets know no reset.
      for (const socket of sockets) {
        if (socket.remoteFamily === undefined) socket.destroy()
        else socket.resetAndDestroy()
      }
    }),
    hold: Effect.sync(() => {
      held = true
      for (const socket of sockets) socket.pause()
    }),
    heal: Effect.sync(() => {
      held = false
      for (const socket of sockets) socket.resume()
    })
  }
  return made
})
