/**
 * A filter whose configuration is read again at SIGHUP, while sessions go on: a file with one domain per line, from which
 * no mail is taken.
 *
 * npx node -C effect-milter-source examples/reload/reload.ts blocked.txt inet:9000
 * kill -HUP <its process id>
 */
import * as NodeServices from "@effect/platform-node/NodeServices"
import * as Milter from "effect-milter/Milter"
import * as MilterServer from "effect-milter/MilterServer"
import { NodeMilterServer } from "effect-milter/node"
import * as Verdict from "effect-milter/Verdict"
import * as Context from "effect/Context"
import * as Data from "effect/Data"
import * as Effect from "effect/Effect"
import * as FileSystem from "effect/FileSystem"
import * as Layer from "effect/Layer"
import * as Ref from "effect/Ref"
import { fileURLToPath } from "node:url"
import * as command from "../support/command.ts"

export class NoDomain extends Data.TaggedError("NoDomain")<{ readonly path: string; readonly line: string }> {
  override get message(): string {
    return `${this.path}: "${this.line}" is no domain`
  }
}

/** The domains, and how to read them again. A file that cannot be read, or understood, leaves them as they are. */
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
        // The first one has to be good.
        const domains = yield* Ref.make<ReadonlySet<string>>(yield* read)
        return {
          domains: Ref.get(domains),
          reload: Effect.flatMap(read, (next) =>
            Effect.andThen(Ref.set(domains, next), Effect.logInfo(`${next.size} domains are blocked`)))
        }
      })
    )
}

export const Blocklist = Milter.make("blocklist", {
  // Once per message, so that all its stages go by the same list.
  message: () => Effect.flatMap(Blocked, ({ domains }) => domains)
}).on({
  mail: ({ sender }, { message }) =>
    Effect.succeed(message.has(sender.domain) ? Verdict.reject({ text: "not from there" }) : Verdict.continue),
  rcpt: ({ recipient }, { message }) =>
    Effect.succeed(message.has(recipient.domain) ? Verdict.reject({ text: "not to there" }) : Verdict.continue)
})

const listener = (listen: string) =>
  Layer.unwrap(
    Effect.map(Blocked, ({ reload }) => NodeMilterServer.layer({ listen, onReload: reload }))
  )

const main = (path: string, listen: string) =>
  MilterServer.layer(Blocklist).pipe(
    Layer.provide(listener(listen)),
    // One service, for the filter and for who reloads it.
    Layer.provide(Blocked.layer(path)),
    Layer.provide(NodeServices.layer)
  )

if (process.argv[1] === fileURLToPath(import.meta.url)) {
  const [, , path = "blocked.txt", listen = "inet:9000"] = process.argv
  command.runProgram("reload", Layer.launch(main(path, listen)))
}
