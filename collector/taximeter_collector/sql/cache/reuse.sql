-- What became of the cached prefix of each model call in [$start, $end), added up by agent, version, model and cause.
-- The call before is that of the same run, else of the session's earlier traces, else of any run of the agent: then only
-- the prefix that runs share can come back. The look goes an hour back and forth, as far as any lifetime counted here.
with seen as materialized (
    select agent_name, agent_version, provider, model, trace_id, session_id,
        coalesce(agent_span_id, trace_id) as run, start_time, end_time, start_time >= $start and start_time < $end as is_inside,
        prompt_tokens, coalesce(cache_read_tokens, 0) as r, coalesce(cache_write_tokens, 0) as w,
        coalesce(cache_write_long_tokens, 0) as w_long,
        case when cache_write_tokens > 0 then cache_write_cost_pico / cache_write_tokens end as p_write,
        -- What an uncached token of the call costs follows from what its cache saved.
        case when cache_read_tokens + cache_write_tokens > 0
            then (cache_saved_pico + cache_read_cost_pico + cache_write_cost_pico)
                / (cache_read_tokens + cache_write_tokens) end as p_input,
        (input_cost_pico + cache_write_cost_pico)
            / nullif(coalesce(uncached_input_tokens, 0) + coalesce(cache_write_tokens, 0), 0) as p_paid,
        case when cache_read_tokens > 0 then cache_read_cost_pico / cache_read_tokens end as p_read
    from calls
    where start_time >= $start::timestamptz - interval 1 hour and start_time < $end::timestamptz + interval 1 hour
        and {where}
), agent as (
    select agent_name, provider, model, row_number() over () as agent, sum(w) > 0 as has_writes, sum(r) + sum(w) = 0 as is_never,
        case when sum(w_long) > 0 then interval 1 hour when provider = 'openai' then interval 30 minute
            else interval 5 minute end as lifetime,
        max(p_read) as p_read
    from seen group by agent_name, provider, model
), ordered as materialized (
    select s.*, a.agent, a.has_writes, a.is_never, a.lifetime, a.p_read as p_read_known,
        -- Without counted writes the whole prompt may lie in the cache.
        case when a.has_writes then s.r + s.w else s.prompt_tokens end as cached,
        lag(s.start_time) over runs as run_before, lag(cached) over runs as run_cached, lag(s.end_time) over runs as run_end,
        lag(s.trace_id) over sessions as session_trace, lag(s.start_time) over sessions as session_before,
        lag(cached) over sessions as session_cached, lag(s.end_time) over sessions as session_end,
        lag(s.start_time) over agents as any_before, lag(s.end_time) over agents as any_end,
        lead(s.r) over runs as run_read, lead(s.start_time) over runs as run_after
    from seen s join agent a on s.agent_name is not distinct from a.agent_name
        and s.provider is not distinct from a.provider and s.model is not distinct from a.model
    window runs as (partition by s.run, s.trace_id, a.agent order by s.start_time),
        sessions as (partition by coalesce(s.session_id, s.trace_id), a.agent order by s.start_time),
        agents as (partition by a.agent order by s.start_time)
), opened as (
    select *,
        case when run_before is not null then 'run' when session_trace <> trace_id then 'session' else 'other' end as place,
        case when w_long > 0 then interval 1 hour else interval 5 minute end as own_lifetime,
        lead(case when run_before is null then r end ignore nulls) over agents as other_read,
        lead(case when run_before is null then start_time end ignore nulls) over agents as other_after
    from ordered window agents as (partition by agent order by start_time)
), common as (
    -- What the first call of a run reads is the prefix that runs share.
    select agent, quantile_disc(r, 0.5) as shared from ordered where run_before is null and r > 0 group by all
), judged as (
    select o.*, shared,
        start_time - case place when 'run' then run_before when 'session' then session_before else any_before end as gap,
        start_time < case place when 'run' then run_end when 'session' then session_end else any_end end as is_concurrent,
        least(case place when 'run' then run_cached when 'session' then session_cached else coalesce(shared, 0) end, cached) as reusable,
        greatest(case when run_after - start_time <= own_lifetime then run_read end,
            case when other_after - start_time <= own_lifetime then other_read end, 0) as read_again,
        start_time + own_lifetime <= $known_until::timestamptz as is_over
    from opened o left join common using (agent)
), caused as (
    select *,
        case when reusable - r < 256 and r > 0 then 'hit'
            when prompt_tokens < 1024 then 'below_minimum'
            when is_never then 'never_written'
            when gap is null then 'first_call'
            when reusable - r < 256 then 'new_text'
            when gap > lifetime then 'expired'
            when is_concurrent then 'concurrent'
            else 'prefix_changed' end as cause
    from judged where is_inside
)
select agent_name, agent_version, provider, model, cause, count(*) as calls,
    sum(prompt_tokens)::bigint as prompt_tokens,
    sum(r)::bigint as read_tokens, sum(w)::bigint as written_tokens,
    sum(case when cause in ('expired', 'concurrent', 'prefix_changed') then greatest(reusable - r, 0) else 0 end)::bigint as missed_tokens,
    sum(case when cause in ('expired', 'concurrent', 'prefix_changed')
        then greatest(reusable - r, 0) * (p_paid - coalesce(p_read, p_read_known)) end) / 1e12 as missed_usd,
    sum(w) filter (is_over)::bigint as judged_tokens,
    sum(greatest(least(r + w - read_again, w), 0)) filter (is_over)::bigint as unread_tokens,
    sum(greatest(least(r + w - read_again, w), 0) * (p_write - p_input)) filter (is_over) / 1e12 as unread_usd,
    sum(r + w)::bigint as cached_tokens,
    -- What a changed prefix or a call at the same time misses, no lifetime would save.
    sum(case when cause not in ('concurrent', 'prefix_changed') and gap <= interval 5 minute then reusable else 0 end)::bigint as back_in_5m_tokens,
    sum(case when cause not in ('concurrent', 'prefix_changed') and gap > interval 5 minute and gap <= interval 1 hour then reusable else 0 end)::bigint
        as back_in_1h_tokens,
    sum(w_long)::bigint as written_long_tokens
from caused group by all order by all
