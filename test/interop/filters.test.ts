/** Each of the milters that Debian has, through verdicts and changes that it is known for. */
import { assert, it } from "@effect/vitest"
import { Effect } from "effect"
import * as MilterClient from "effect-milter/MilterClient"
import { describeDaemon } from "../../testbed/daemon.ts"
import * as daemons from "../../testbed/daemons.ts"
import { added, gtube, message, replyOf, send, sendAll } from "./support/send.ts"

const mtas = [MilterClient.postfix, MilterClient.sendmail]

describeDaemon("opendmarc", daemons.prerequisites.opendmarc, () => {
  it.live("finds no policy, since there is no DNS", () =>
    Effect.gen(function*() {
      const address = yield* daemons.opendmarc
      for (const as of mtas) {
        const outcome = yield* send(address, message, { as })
        assert.strictEqual(outcome._tag, "Accepted")
        assert.match(
          added(outcome, "Authentication-Results").join(),
          /mx\.example\.net; dmarc=\w+ .*header\.from=example\.org/
        )
        assert.match(added(outcome, "DMARC-Filter").join(), /^OpenDMARC Filter/)
      }
    }))
})

describeDaemon("rspamd", daemons.prerequisites.rspamd, () => {
  it.live("marks ham and refuses spam", () =>
    Effect.gen(function*() {
      const address = yield* daemons.rspamd()
      for (const as of mtas) {
        const [ham, spam, again] = yield* sendAll(address, [message, { ...message, body: gtube }, message], { as })
        assert.strictEqual(ham?._tag, "Accepted")
        assert.deepStrictEqual(added(ham!, "X-Rspamd-Action"), ["no action"])
        assert.match(added(ham!, "X-Spamd-Result").join(), /^default: False \[[\d.]+ \/ 15\.00\];/)
        assert.strictEqual(spam?._tag, "Rejected")
        assert.strictEqual(spam?.stage, "endOfMessage")
        assert.strictEqual(replyOf(spam!), "554 5.7.1 Gtube pattern")
        assert.strictEqual(again?._tag, "Accepted")
      }
    }))

  it.live("quarantines if told to", () =>
    Effect.gen(function*() {
      const address = yield* daemons.rspamd({ quarantine: true })
      const outcome = yield* send(address, { ...message, body: gtube })
      assert.strictEqual(outcome._tag, "Accepted")
      assert.deepStrictEqual(
        outcome.modifications.flatMap((packet) => packet._tag === "Quarantine" ? [packet.reason] : []),
        ["Spam message quarantined"]
      )
    }))
})

describeDaemon("clamav-milter", daemons.prerequisites.clamav, () => {
  it.live("lets clean mail pass and refuses a virus", () =>
    Effect.gen(function*() {
      const address = yield* daemons.clamav
      for (const as of mtas) {
        const big = "0123456789012345678901234567890123456789\r\n".repeat(5000)
        const [clean, infected] = yield* sendAll(address, [
          { ...message, body: big },
          { ...message, body: `${big}${daemons.virus}\r\n` }
        ], { as })
        assert.strictEqual(clean?._tag, "Accepted")
        assert.deepStrictEqual(added(clean!, "X-Virus-Status"), ["Clean"])
        assert.strictEqual(infected?._tag, "Rejected")
        assert.match(replyOf(infected!) ?? "", /^550 5\.7\.1 infected with Test\.Virus/)
      }
    }))
})

describeDaemon("spamass-milter", daemons.prerequisites.spamass, () => {
  it.live("scores ham and refuses spam", () =>
    Effect.gen(function*() {
      const address = yield* daemons.spamass
      for (const as of mtas) {
        const [ham, spam] = yield* sendAll(address, [message, { ...message, body: gtube }], { as })
        assert.strictEqual(ham?._tag, "Accepted")
        assert.match(added(ham!, "X-Spam-Status").join(), /score=-?[\d.]+ required=5\.0/)
        assert.strictEqual(spam?._tag, "Rejected")
        assert.strictEqual(replyOf(spam!), "550 5.7.1 Blocked by SpamAssassin")
      }
    }))
})

describeDaemon("pyspf-milter", daemons.prerequisites.pyspf, () => {
  it.live("finds no record, since there is no DNS", () =>
    Effect.gen(function*() {
      const address = yield* daemons.pyspf
      for (const as of mtas) {
        const outcome = yield* send(address, message, { as })
        assert.strictEqual(outcome._tag, "Accepted")
        assert.match(added(outcome, "Authentication-Results").join(), /spf=\w+ .*smtp\.mailfrom=example\.org/s)
      }
    }))
})

const attachment = `--b
Content-Type: text/plain

See the attachment.
--b
Content-Type: application/octet-stream; name="setup.exe"
Content-Disposition: attachment; filename="setup.exe"
Content-Transfer-Encoding: base64

TVqQAAMAAAAEAAAA//8AALgAAAAAAAAAQAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAA
--b--
`

describeDaemon("amavisd-milter", daemons.prerequisites.amavis, () => {
  it.live("refuses a name that is banned", () =>
    Effect.gen(function*() {
      const address = yield* daemons.amavis
      for (const as of mtas) {
        const [clean, banned] = yield* sendAll(address, [message, {
          ...message,
          headers: [
            ...message.headers ?? [],
            ["MIME-Version", "1.0"],
            ["Content-Type", "multipart/mixed; boundary=b"]
          ],
          body: attachment
        }], { as })
        assert.strictEqual(clean?._tag, "Accepted")
        assert.strictEqual(banned?._tag, "Rejected")
        assert.match(replyOf(banned!) ?? "", /^554 5\.7\.0 .*setup\.exe/)
      }
    }))
})
