/** Signatures and results on the mail that real MTAs deliver, and relay once more. Judged by mailauth, used by itself. */
import { assert, layer } from "@effect/vitest"
import * as Auth from "effect-milter/auth"
import * as Message from "effect-milter/Message"
import * as Milter from "effect-milter/Milter"
import * as Verdict from "effect-milter/Verdict"
import * as Context from "effect/Context"
import * as Duration from "effect/Duration"
import * as Effect from "effect/Effect"
import * as Fiber from "effect/Fiber"
import * as Layer from "effect/Layer"
import * as Stream from "effect/Stream"
import * as Postfix from "../../testbed/postfix.ts"
import * as Sendmail from "../../testbed/sendmail.ts"
import * as SmtpClient from "../../testbed/smtpClient.ts"
import { chain, verdicts } from "../auth/support/independent.ts"
import { input, recordsOf } from "../auth/support/mail.ts"
import * as FilterServer from "./support/filterServer.ts"

const { crlf } = SmtpClient

const keys = [input("example.org"), input("example.org", "ed25519"), input("relay.example")]

const records: Auth.RecordTable = {
  ...recordsOf(keys),
  "example.org": { TXT: ["v=spf1 ip4:127.0.0.1 -all"] },
  "_dmarc.example.org": { TXT: ["v=DMARC1; p=reject"] }
}

const services = Layer.merge(Auth.Keys.layer(keys), Auth.Dns.layerRecords(records))

const loopback = Auth.submitted(["127.0.0.0/8"])

const authservId = "mx2.test.example"

/** Has all that MTAs like to touch: folds, white space, an empty line at the end, a dot, long lines. */
const message = crlf(`X-First: of all
Authentication-Results: MX2.test.example;
 dkim=pass header.d=example.com
Authentication-Results: other.example; spf=pass
authentication-results: (mine) "mx2.test.example" 1; spf=pass
From: "Alice,  of example.org"
	<alice@example.org>
To: Bob <bob@test.example>,
  carol@relay.example
Subject: a subject  that
	is folded
Date: Mon, 23 Nov 2026 12:00:00 +0000
Message-ID: <1@example.org>
MIME-Version: 1.0
Content-Type: text/plain; charset=us-ascii

Hello, Bob.${"  \t"}
.
..two dots
From here to there

${"a long line ".repeat(80)}


`)

const eightBit = message.replace("us-ascii", "utf-8\r\nContent-Transfer-Encoding: 8bit").replace(
  "Hello",
  Buffer.from("Grüße").toString("latin1")
)

const serve = (options: Auth.SignOptions = {}) => FilterServer.serve(Auth.sign({ when: loopback, ...options }))

/** Edits the whole message, and signs what comes of that. */
const editAndSign = FilterServer.serve(Milter.sequence([
  Message.make("edit", { modify: ["headers", "body"] }).on({
    document: Effect.fnUntraced(function*(document) {
      yield* document.headers.set(
        "Subject",
        "Grüße, and a subject that is long enough to be folded by whoever puts it in"
      )
      yield* document.headers.remove("X-First")
      yield* document.headers.prepend("X-Top", "1")
      yield* document.replaceBody(
        Stream.concat(document.body.stream, Stream.make(new TextEncoder().encode("\n--\nus")))
      )
      return Verdict.continue
    })
  }),
  Auth.sign({ when: loopback })
]))

const checkEdited = Effect.fnUntraced(function*(mail: Postfix.Delivered) {
  assert.deepStrictEqual(
    mail.headers.slice(0, 4).map(([name]) => name),
    ["Received", "DKIM-Signature", "DKIM-Signature", "X-Top"]
  )
  assert.match(Postfix.headerValues(mail, "Subject")[0]!, /^=\?UTF-8\?/)
  assert.isTrue(mail.body.endsWith("\n--\nus\n"))
  assert.deepStrictEqual(yield* verdicts(mail.raw, records), ["pass", "pass"])
})

/** Removes what a sender has written, as often as he wrote it. */
const removing = FilterServer.serve(
  Message.make("remove", { modify: ["headers"] }).on({
    document: ({ headers }) => Effect.as(headers.remove("X-Forged"), Verdict.continue)
  })
)

const repeated = (field: string, count: number): string =>
  crlf(`${`${field}\n`.repeat(count)}From: alice@example.org\n\nHello.\n`)

class Hops extends Context.Service<Hops, {
  readonly first: Postfix.Instance
  readonly second: Postfix.Instance
}>()("test/Hops") {
  /** The first one signs, and hands mail for relay.example on to the second one, which checks and seals it. */
  static readonly layer = Layer.effect(
    this,
    Effect.gen(function*() {
      const sign = FilterServer.forPostfix(yield* serve())
      const check = FilterServer.forPostfix(
        yield* FilterServer.serve(Milter.sequence([
          Auth.verify({ authservId, onResult: Auth.enforceDmarc }),
          Auth.seal({ authservId, domain: "relay.example" })
        ]))
      )
      const second = yield* Postfix.make<string>({
        milters: check,
        listeners: {
          sevenBit: {
            milters: check,
            options: { smtpd_discard_ehlo_keywords: "8bitmime, smtputf8, chunking, silent-discard" }
          }
        },
        mainCf: { myhostname: "mx2.test.example" }
      })
      const first = yield* Postfix.make<string>({
        milters: sign,
        listeners: {
          edited: { milters: FilterServer.forPostfix(yield* editAndSign) },
          removing: { milters: FilterServer.forPostfix(yield* removing) }
        },
        nonSmtpdMilters: sign,
        mainCf: {
          transport_maps: `inline:{ {relay.example = smtp:[127.0.0.1]:${second.port}}, ` +
            `{seven.example = smtp:[127.0.0.1]:${second.portOf("sevenBit")}} }`
        }
      })
      return { first, second }
    })
  ).pipe(Layer.provide(services))
}

const send = Effect.fnUntraced(function*(
  port: number,
  to: string,
  text: string,
  parameters: { readonly mailParameters?: string } = {}
) {
  const client = yield* SmtpClient.connect(port)
  const result = yield* client.sendMail({ from: "alice@example.org", to, message: text, ...parameters })
  assert.strictEqual(result.message?.code, 250, result.last.text)
  return result.queueId
}, Effect.scoped)

Postfix.describePostfix("authentication with Postfix", () => {
  layer(Hops.layer, { excludeTestServices: true })((it) => {
    it.effect("signs below Received, and signatures hold on what is delivered", () =>
      Effect.gen(function*() {
        const { first } = yield* Hops
        const queueId = yield* send(first.port, "bob@test.example", message)
        const mail = yield* first.takeOne({ queueId })
        assert.deepStrictEqual(
          mail.headers.slice(0, 4).map(([name]) => name),
          ["Received", "DKIM-Signature", "DKIM-Signature", "X-First"]
        )
        assert.deepStrictEqual(yield* verdicts(mail.raw, records), ["pass", "pass"])
      }))

    it.effect("signs what a filter in front has made of the message", () =>
      Effect.gen(function*() {
        const { first } = yield* Hops
        const queueId = yield* send(first.portOf("edited"), "bob@test.example", message)
        yield* checkEdited(yield* first.takeOne({ queueId }))
      }))

    it.effect("signs what is handed in without SMTP", () =>
      Effect.gen(function*() {
        const { first } = yield* Hops
        yield* first.submitLocal("From: alice@example.org\nSubject: local\n\nHello.\n", ["-i", "bob@test.example"])
        const mail = yield* first.takeOne()
        // Postfix has put these in before the filter saw the message.
        assert.lengthOf(Postfix.headerValues(mail, "Date"), 1)
        assert.lengthOf(Postfix.headerValues(mail, "Message-Id"), 1)
        assert.deepStrictEqual(yield* verdicts(mail.raw, records), ["pass", "pass"])
      }))

    it.effect("is confirmed on the second hop, and again behind it", () =>
      Effect.gen(function*() {
        const { first, second } = yield* Hops
        yield* send(first.port, "carol@relay.example", message)
        const mail = yield* second.takeOne()
        assert.deepStrictEqual(
          mail.headers.slice(0, 8).map(([name]) => name),
          [
            "Received",
            "ARC-Seal",
            "ARC-Message-Signature",
            "ARC-Authentication-Results",
            "Authentication-Results",
            "Received",
            "DKIM-Signature",
            "DKIM-Signature"
          ]
        )
        const results = Postfix.headerValues(mail, "Authentication-Results")
        assert.deepStrictEqual(results.slice(1), ["other.example; spf=pass"])
        assert.match(
          results[0]!,
          /^mx2\.test\.example;\s+dkim=pass header\.d=example\.org .*dkim=pass .*spf=pass .*arc=none .*dmarc=pass/s
        )
        assert.deepStrictEqual(yield* verdicts(mail.raw, records), ["pass", "pass"])
        assert.deepStrictEqual(yield* chain(mail.raw, records), { result: "pass", i: 1 })
      }))

    it.effect("holds for a large message", () =>
      Effect.gen(function*() {
        const { first, second } = yield* Hops
        yield* send(first.port, "carol@relay.example", message + `${"0123456789 ".repeat(7)}\r\n`.repeat(40_000))
        assert.match(
          Postfix.headerValues(yield* second.takeOne({ timeout: 30_000 }), "Authentication-Results")[0]!,
          /dkim=pass .*dkim=pass /s
        )
      }))

    it.effect("does not survive lines that are broken, which can be switched off", () =>
      Effect.gen(function*() {
        const { first, second } = yield* Hops
        const relayed = Effect.gen(function*() {
          yield* send(first.port, "carol@relay.example", `${message}${"too long ".repeat(200)}\r\n`)
          return yield* verdicts((yield* second.takeOne()).raw, records)
        })
        assert.deepStrictEqual(yield* relayed, ["fail", "fail"])
        yield* first.reconfigure({ smtp_line_length_limit: "0" })
        assert.deepStrictEqual(yield* relayed, ["pass", "pass"])
      }))

    it.effect("refuses what DMARC says is forged", () =>
      Effect.gen(function*() {
        const { second } = yield* Hops
        const client = yield* SmtpClient.connect(second.port)
        const result = yield* client.sendMail({
          from: "mallory@example.com",
          to: "bob@test.example",
          message: crlf("From: alice@example.org\nSubject: trust me\n\nHello.\n")
        })
        assert.strictEqual(result.message?.text, "550 5.7.1 refused by the DMARC policy of example.org")
      }))

    it.effect("leaves out signatures that are dear to check, and judges the rest", () =>
      Effect.gen(function*() {
        const { second } = yield* Hops
        yield* send(second.port, "bob@test.example", repeated(`DKIM-Signature: a${" ".repeat(59_000)}b`, 4))
        const mail = yield* second.takeOne()
        assert.match(
          Postfix.headerValues(mail, "Authentication-Results")[0]!,
          /^mx2\.test\.example;(\s+dkim=permerror \(field too large\);){4}\s+spf=pass .*dmarc=pass/s
        )
      }))

    it.effect("keeps mail beside a dear message waiting no longer than beside an ordinary one of its size", () =>
      Effect.gen(function*() {
        const { second } = yield* Hops
        let sent = 0
        const deliver = (text: string) =>
          Effect.suspend(() => {
            sent++
            return send(second.port, "bob@test.example", text)
          })
        const plain = crlf("From: alice@example.org\nSubject: waits\n\nHello.\n")
        /** The longest that a short message takes while these pass. */
        const longestBeside = Effect.fnUntraced(function*(text: string) {
          const passing = yield* Effect.forkChild(
            Effect.all(Array.from({ length: 3 }, () => deliver(text)))
          )
          let longest = 0
          do {
            const [time] = yield* Effect.timed(deliver(plain))
            longest = Math.max(longest, Duration.toMillis(time))
          } while (passing.pollUnsafe() === undefined)
          yield* Fiber.join(passing)
          return longest
        })
        yield* deliver(plain)
        const ordinary = repeated(`X-Long: a${"x".repeat(59_000)}b`, 4)
        const dear = repeated(`DKIM-Signature: a${" ".repeat(59_000)}b`, 4)
        // The least of several: a busy machine makes some of them longer, none shorter.
        let [usual, beside] = [Infinity, Infinity]
        for (let attempt = 0; attempt < 4 && (attempt === 0 || beside > 10 * usual); attempt++) {
          usual = Math.min(usual, yield* longestBeside(ordinary))
          beside = Math.min(beside, yield* longestBeside(dear))
        }
        assert.isAtMost(beside / usual, 10)
        yield* second.takeDelivered(sent)
      }))

    it.effect("refuses very many forged results, and Postfix takes the next message", () =>
      Effect.gen(function*() {
        const { second } = yield* Hops
        for (const count of [12_000, 100]) {
          const client = yield* SmtpClient.connect(second.port)
          const { message } = yield* client.sendMail({
            from: "alice@example.org",
            to: "bob@test.example",
            message: repeated(`Authentication-Results: ${authservId}; dmarc=pass`, count)
          })
          if (count > 100) assert.strictEqual(message?.text, "550 5.7.1 too many forged Authentication-Results")
          else assert.strictEqual(message?.code, 250)
        }
        assert.lengthOf(Postfix.headerValues(yield* second.takeOne(), "Authentication-Results"), 1)
      }).pipe(Effect.scoped))

    it.effect("passes no message that needs more modifications than Postfix takes", () =>
      Effect.gen(function*() {
        const { first } = yield* Hops
        for (const count of [12_000, 501, 500]) {
          const client = yield* SmtpClient.connect(first.portOf("removing"))
          const { message } = yield* client.sendMail({
            from: "alice@example.org",
            to: "bob@test.example",
            message: repeated("X-Forged: 1", count)
          })
          if (count > 500) assert.match(message?.text ?? "", /^550 5\.7\.1 The message needs too many changes/)
          else assert.strictEqual(message?.code, 250)
        }
        assert.deepStrictEqual(Postfix.headerValues(yield* first.takeOne(), "X-Forged"), [])
      }).pipe(Effect.scoped))

    it.effect("does not survive a conversion of 8-bit bodies, which can be switched off", () =>
      Effect.gen(function*() {
        const { first, second } = yield* Hops
        const relayed = Effect.gen(function*() {
          yield* send(first.port, "carol@seven.example", eightBit, { mailParameters: "BODY=8BITMIME" })
          const mail = yield* second.takeOne()
          return {
            encoding: Postfix.headerValues(mail, "Content-Transfer-Encoding"),
            verdicts: yield* verdicts(mail.raw, records)
          }
        })
        // SPF spares the broken one from the policy.
        assert.deepStrictEqual(yield* relayed, { encoding: ["quoted-printable"], verdicts: ["fail", "fail"] })
        yield* first.reconfigure({ disable_mime_output_conversion: "yes" })
        assert.deepStrictEqual(yield* relayed, { encoding: ["8bit"], verdicts: ["pass", "pass"] })
      }))
  })
})

Sendmail.describeSendmail("authentication with Sendmail", () => {
  const live = Layer.effect(
    Sendmail.Sendmail,
    Effect.gen(function*() {
      const fewer = { fields: Auth.defaultFields.filter((name) => !/^(to|cc)$/i.test(name)) }
      return yield* Sendmail.make<string>({
        filters: [{ address: yield* serve() }],
        listeners: {
          fewer: [{ address: yield* serve(fewer) }],
          edited: [{ address: yield* editAndSign }],
          check: [{ address: yield* FilterServer.serve(Auth.verify({ authservId })) }]
        }
      })
    })
  ).pipe(Layer.provide(services))

  layer(live, { excludeTestServices: true })((it) => {
    const signed = Effect.fnUntraced(function*(text: string, listener?: string) {
      const { port, portOf, takeOne } = yield* Sendmail.Sendmail
      const queueId = yield* send(listener === undefined ? port : portOf(listener), "bob@test.example", text)
      return yield* takeOne({ queueId })
    })

    it.effect("signs below Received, and signatures hold on what is delivered", () =>
      Effect.gen(function*() {
        const mail = yield* signed(message)
        assert.deepStrictEqual(
          mail.headers.slice(0, 4).map(([name]) => name),
          ["Received", "DKIM-Signature", "DKIM-Signature", "X-First"]
        )
        assert.deepStrictEqual(yield* verdicts(mail.raw, records), ["pass", "pass"])
      }))

    it.effect("signs what a filter in front has made of the message", () =>
      Effect.flatMap(signed(message, "edited"), checkEdited))

    it.effect("takes out forged results, and puts its own below Received", () =>
      Effect.gen(function*() {
        const mail = yield* signed((yield* signed(message)).raw.replaceAll("\n", "\r\n"), "check")
        const [own, ...others] = Sendmail.headerValues(mail, "Authentication-Results")
        assert.match(own!, /^mx2\.test\.example;\s+dkim=pass .*dkim=pass .*spf=pass .*dmarc=pass/s)
        assert.deepStrictEqual(others, ["other.example; spf=pass"])
        assert.deepStrictEqual(
          mail.headers.slice(0, 3).map(([name]) => name),
          ["Received", "Authentication-Results", "Received"]
        )
      }))

    it.effect("holds where Sendmail puts in what is missing", () =>
      Effect.gen(function*() {
        const mail = yield* signed(crlf("From: alice@example.org\n\nHello.\n"))
        assert.lengthOf(Sendmail.headerValues(mail, "Date"), 1)
        assert.lengthOf(Sendmail.headerValues(mail, "Message-Id"), 1)
        assert.deepStrictEqual(yield* verdicts(mail.raw, records), ["pass", "pass"])
      }))

    it.effect("does not survive addresses that Sendmail writes in its own way", () =>
      Effect.gen(function*() {
        for (
          const [to, written] of [["bob@test.example,carol@test.example", "bob@test.example, carol@test.example"], [
            "bob",
            "bob@mx.test.example"
          ]] as const
        ) {
          const text = crlf(`From: alice@example.org\nTo: ${to}\nCc: ${to}\n\nHello.\n`)
          const mail = yield* signed(text)
          assert.deepStrictEqual(Sendmail.headerValues(mail, "To"), [written])
          assert.deepStrictEqual(yield* verdicts(mail.raw, records), ["fail", "fail"])
          assert.deepStrictEqual(yield* verdicts((yield* signed(text, "fewer")).raw, records), ["pass", "pass"])
        }
      }))
  })
})
