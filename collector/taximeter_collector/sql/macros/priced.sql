-- Units times pico-USD; nothing used costs nothing even where no price is known, an unknown count has no cost.
create or replace macro priced(units, price) as case when units = 0 then 0 else units::hugeint * price end;
