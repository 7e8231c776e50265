/** Loaded before a server starts: it counts nothing, to show what metrics cost. Nothing in the library turns them off. */
import { FilterMetrics, Metrics } from "../../src/internal/observe/metrics.ts"

const nothing = (): void => {}

Object.assign(FilterMetrics.prototype, { verdict: nothing, hook: nothing, error: nothing })
Object.assign(Metrics.prototype, { sessionBegins: nothing, sessionEnds: nothing, messageEnds: nothing, bytes: nothing })
