/** The command: serves the filter with the API that it asks. */
import * as MilterServer from "effect-milter/MilterServer"
import * as Flag from "effect/cli/Flag"
import * as Duration from "effect/Duration"
import * as FetchHttpClient from "effect/http/FetchHttpClient"
import * as Layer from "effect/Layer"
import * as Option from "effect/Option"
import * as command from "../support/command.ts"
import * as flags from "../support/flags.ts"
import { senderRestriction } from "./filter.ts"
import { SenderApi } from "./senderApi.ts"

/** A flag for a time such as `30 seconds`. */
const time = (name: string, most: Duration.Duration, byDefault: string) =>
  Flag.String(name).pipe(
    Flag.withDefault(byDefault),
    Flag.filterMap(
      (text) =>
        // A cast: fromInput looks at the text itself.
        Duration.fromInput(text as Duration.Input).pipe(
          Option.filter((time) =>
            Duration.isGreaterThan(time, Duration.zero) && Duration.isLessThanOrEqualTo(time, most)
          )
        ),
      () => `a time such as "2 seconds", at most ${Duration.format(most)}`
    ),
    Flag.withMetavar("TIME")
  )

command.run({
  name: "sender_restriction",
  description: "Asks an HTTP API whether who has logged in may send as this sender, and this campaign",
  options: {
    apiUrl: Flag.String("api-url").pipe(
      // Those with a password in them show up in logs, and fetch takes none.
      Flag.filter(
        (url) => /^https?:$/.test(URL.parse(url)?.protocol ?? "") && URL.parse(url)?.username === "",
        () => "an address with http: or https:, without a user"
      ),
      Flag.withMetavar("URL"),
      Flag.withDescription("Where the API is; it is sent a POST")
    ),
    apiToken: Flag.Redacted("api-token").pipe(
      Flag.withMetavar("TOKEN"),
      Flag.withDescription("A bearer token for the API; better in the environment, where ps does not show it"),
      Flag.optional
    ),
    // The hooks of a filter have 8 seconds.
    timeout: time("timeout", Duration.seconds(7), "3 seconds").pipe(
      Flag.withDescription("How long to wait for an answer (3 seconds)")
    ),
    cacheTime: time("cache-time", Duration.days(1), "1 minute").pipe(
      Flag.withDescription("How long an answer counts (1 minute)")
    ),
    cacheSize: Flag.Int("cache-size").pipe(
      Flag.withDefault(10_000),
      Flag.filter((size) => size > 0, () => "a number above 0"),
      Flag.withMetavar("NUMBER"),
      Flag.withDescription("How many answers are kept (10000)")
    ),
    whenDown: Flag.Literals("when-down", ["tempfail", "pass", "reject"]).pipe(
      Flag.withDefault("tempfail" as const),
      Flag.withDescription("What to do with mail while there is no answer (tempfail)")
    ),
    campaignHeader: flags.fieldName("campaign-header", "X-Campaign-Id").pipe(
      Flag.withDescription("Messages with this header are asked about with its value, too (X-Campaign-Id)")
    )
  },
  serve: ({ apiToken, apiUrl, cacheSize, cacheTime, campaignHeader, timeout, whenDown }) =>
    MilterServer.layerConfig(senderRestriction({ campaignHeader, whenDown })).pipe(
      Layer.provide(SenderApi.layer({
        url: apiUrl,
        timeout,
        timeToLive: cacheTime,
        capacity: cacheSize,
        ...(Option.isSome(apiToken) ? { token: apiToken.value } : {})
      })),
      Layer.provide(FetchHttpClient.layer)
    )
})
