/**
 * The embedded fabric under the law suites of all five ports.
 *
 * @module
 */
import { blobStoreLaws } from "./blobStoreLaws.ts"
import { embedded } from "./EmbeddedMaker.ts"
import { keyValueLaws } from "./keyValueLaws.ts"
import { logLaws } from "./logLaws.ts"
import { pubSubLaws } from "./pubSubLaws.ts"
import { workQueueLaws } from "./workQueueLaws.ts"

logLaws(embedded)
keyValueLaws(embedded)
workQueueLaws(embedded)
pubSubLaws(embedded)
blobStoreLaws(embedded)
