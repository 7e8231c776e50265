/**
 * A filter that takes no mail from or to the domains of a list, and a service that holds the list and reads it again when
 * it is told to.
 */
import * as Milter from "effect-milter/Milter"
import * as Verdict from "effect-milter/Verdict"
import * as Context from "effect/Context"
import * as Data from "effect/Data"
import * as Effect from "effect/Effect"
import * as FileSystem from "effect/FileSystem"
import * as Layer from "effect/Layer"
import * as Ref from "effect/Ref"

/** A line of the file that is not a domain. */
export class NoDomain extends Data.TaggedError("NoDomain")<{ readonly path: string; readonly line: string }> {
  override get message(): string {
    return `${this.path}: "${this.line}" is not a domain`
  }
}

/** The blocked domains, and how to read them again. If the file cannot be read or a line is wrong, the domains stay as they are. */
export class Blocked extends Context.Service<Blocked, {
  readonly domains: Effect.Effect<ReadonlySet<string>>
  readonly reload: Effect.Effect<void, unknown>
}>()("example/Blocked") {
  static readonly layer = (path: string) =>
    Layer.effect(
      this,
      Effect.gen(function*() {
        const files = yield* FileSystem.FileSystem
        const read = Effect.gen(function*() {
          const lines = (yield* files.readFileString(path)).split("\n").map((line) => line.trim().toLowerCase())
          const domains = lines.filter((line) => line !== "")
          const wrong = domains.find((domain) => !/^[a-z0-9.-]+$/.test(domain))
          return wrong === undefined ? new Set(domains) : yield* new NoDomain({ path, line: wrong })
        })
        // The server does not start without a list.
        const domains = yield* Ref.make<ReadonlySet<string>>(yield* read)
        return {
          domains: Ref.get(domains),
          reload: Effect.flatMap(read, (next) =>
            Effect.andThen(Ref.set(domains, next), Effect.logInfo(`${next.size} domains are blocked`)))
        }
      })
    )
}

/** Refuses senders and recipients of the blocked domains. */
export const Blocklist = Milter.make("blocklist", {
  // Read once for each message, so that all its stages see the same list.
  message: () => Effect.flatMap(Blocked, ({ domains }) => domains)
}).on({
  mail: ({ sender }, { message }) =>
    Effect.succeed(message.has(sender.domain) ? Verdict.reject({ text: "not from there" }) : Verdict.continue),
  rcpt: ({ recipient }, { message }) =>
    Effect.succeed(message.has(recipient.domain) ? Verdict.reject({ text: "not to there" }) : Verdict.continue)
})
