/**
 * The filters of effect-milter/auth in a process of their own, each on a UNIX socket in the directory of its argument (JSON):
 * `sign` as example.org, `seal` as relay.example, `verify`, and `resolve`, which verifies by the name server of the argument.
 */
import * as NodeRuntime from "@effect/platform-node/NodeRuntime"
import * as Auth from "effect-milter/auth"
import * as Milter from "effect-milter/Milter"
import * as MilterServer from "effect-milter/MilterServer"
import { NodeMilterServer } from "effect-milter/node"
import * as Effect from "effect/Effect"
import * as Layer from "effect/Layer"
import { input, recordsOf } from "../../auth/support/mail.ts"

const { directory, nameServer }: { readonly directory: string; readonly nameServer: string } = JSON.parse(
  process.argv[2] ?? ""
)

const keys = [input("example.org"), input("example.org", "ed25519"), input("relay.example")]

const records = Auth.Dns.layerRecords({
  ...recordsOf(keys),
  "example.org": { TXT: ["v=spf1 ip4:192.0.2.25 -all"] },
  "_dmarc.example.org": { TXT: ["v=DMARC1; p=reject"] }
})

const verify = (authservId: string) => Auth.verify({ authservId, skip: () => Effect.succeed(false) })

const serve = <R>(name: string, filter: Milter.Filter<never, R>) =>
  MilterServer.layer(filter).pipe(Layer.provide(NodeMilterServer.layer({ listen: `unix:${directory}/${name}` })))

const servers = Layer.mergeAll(
  serve("sign", Auth.sign({ when: () => Effect.succeed(true) })),
  serve(
    "seal",
    Milter.sequence([
      verify("mx.relay.example"),
      Auth.seal({ authservId: "mx.relay.example", domain: "relay.example", when: () => Effect.succeed(true) })
    ])
  ),
  serve("verify", verify("mx.example.net"))
).pipe(
  Layer.provide(Auth.Keys.layer(keys)),
  Layer.provide(records),
  Layer.merge(
    serve("resolve", verify("mx.example.net")).pipe(
      Layer.provide(Auth.Dns.layerWith({ servers: [nameServer] }))
    )
  )
)

NodeRuntime.runMain(Layer.launch(servers), { teardown: NodeMilterServer.teardown })
