"""Search attributes of a purchase: what lists and Temporal UI filter by. Ids only, never names or places."""

from temporalio.common import SearchAttributeIndexedValueType, SearchAttributeKey

RUNNING = "running"  # the stage of a purchase that goes from step to step
PURCHASE_STAGE = SearchAttributeKey.for_keyword("PurchaseStage")
ATTENTION_REASON = SearchAttributeKey.for_keyword("AttentionReason")
STUDENT_ID = SearchAttributeKey.for_keyword("StudentId")
ITEM_ID = SearchAttributeKey.for_keyword("ItemId")
PAYMENT_ID = SearchAttributeKey.for_keyword("PaymentId")
TRAINER_ID = SearchAttributeKey.for_keyword("TrainerId")
ORIGIN = SearchAttributeKey.for_keyword("Origin")
NEEDS_ATTENTION = SearchAttributeKey.for_bool("NeedsAttention")
ATTENTION_SINCE = SearchAttributeKey.for_datetime("AttentionSince")
SESSIONS_MISSING = SearchAttributeKey.for_int("SessionsMissing")
# The server's own: set after some failed workflow tasks in a row, unset by the first that ends well.
REPORTED_PROBLEMS = SearchAttributeKey.for_keyword_list("TemporalReportedProblems")

SEARCH_ATTRIBUTES: dict[str, SearchAttributeIndexedValueType] = {
    key.name: key.indexed_value_type
    for key in (
        PURCHASE_STAGE,
        ATTENTION_REASON,
        STUDENT_ID,
        ITEM_ID,
        PAYMENT_ID,
        TRAINER_ID,
        ORIGIN,
        NEEDS_ATTENTION,
        ATTENTION_SINCE,
        SESSIONS_MISSING,
    )
}
