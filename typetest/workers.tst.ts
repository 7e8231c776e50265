/** Servers in several processes ask for what their filter needs, but for no listener, and say how they fail. */
import * as Milter from "effect-milter/Milter"
import * as MilterServer from "effect-milter/MilterServer"
import { NodeMilterServer } from "effect-milter/node"
import * as Verdict from "effect-milter/Verdict"
import type * as Config from "effect/Config"
import * as Context from "effect/Context"
import * as Effect from "effect/Effect"
import { describe, expect, it } from "tstyche"

class Database extends Context.Service<Database, { readonly text: string }>()("test/Database") {}

const Asking = Milter.make("asking").on({
  mail: () => Effect.map(Database, ({ text }) => Verdict.reject({ text }))
})

const Plain = Milter.make("plain").on({ mail: () => Effect.succeed(Verdict.continue) })

describe("workers", () => {
  it("need nothing for a filter that needs nothing", () => {
    expect(NodeMilterServer.workers(MilterServer.layer(Plain), { listen: "inet:0" })).type.toBe<
      Effect.Effect<never, MilterServer.ListenError | NodeMilterServer.WorkerError>
    >()
  })

  it("need what the filter and the reload need, and fail as the server does", () => {
    const reload = Effect.asVoid(Database)
    expect(NodeMilterServer.workers(MilterServer.layerConfig(Asking), { listen: "inet:0", onReload: reload })).type
      .toBe<
        Effect.Effect<never, Config.ConfigError | MilterServer.ListenError | NodeMilterServer.WorkerError, Database>
      >()
  })
})
