"""Monitoring by the clock: one drift report a process a day."""

import dagster as dg


@dg.schedule(
    cron_schedule="0 5 * * *",
    job_name="monitoring",
    execution_timezone="UTC",
    description="a drift report for every process that has a critic, at 05:00 UTC",
)
def daily_monitoring(context: dg.ScheduleEvaluationContext):
    day = context.scheduled_execution_time.date().isoformat()
    for process_id in sorted(context.instance.get_materialized_partitions(dg.AssetKey("critic"))):
        yield dg.RunRequest(run_key=f"{process_id}:{day}", partition_key=process_id)


SCHEDULES = [daily_monitoring]
