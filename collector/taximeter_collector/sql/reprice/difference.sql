-- d_all_change by day and model: what a repricing would come to. Costs are sums over billed calls; unpriced is 0.
from (
    select strftime(timezone('UTC', start_time), '%Y-%m-%d') as day, provider, model, count(*) as calls,
        count(*) filter (before_pico is null and after_pico is not null) as newly_priced,
        count(*) filter (before_pico is not null and after_pico is null) as no_longer_priced,
        coalesce(sum(before_pico), 0) as before_pico, coalesce(sum(after_pico), 0) as after_pico
    from d_all_change where is_billed
    group by all
) order by day, abs(after_pico - before_pico) desc, model;
