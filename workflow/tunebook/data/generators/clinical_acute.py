"""Conditions of heart, lung, brain and emergencies. Synthetic; not medical advice."""

from tunebook.data.generators.clinical_condition import Condition

ACUTE = (
    Condition(
        "an acute inferior myocardial infarction", (48, 80), "FM", "one hour | two hours | three hours",
        "pressing chest pain that spreads to the jaw for {t} | chest tightness and sweating for {t} | heavy "
        "chest pain and nausea that began at rest {t} ago",
        "{He} smokes and has hypertension | {He} has type 2 diabetes | {His} father died of a heart attack "
        "at 52",
        "ST elevation in leads II, III, and aVF | a raised troponin | a heart rate of 54 per minute | a "
        "blood pressure of 104/62 mmHg | pale, clammy skin",
        "aspirin and immediate transfer for coronary angiography | a second antiplatelet drug | continuous "
        "ECG monitoring | right-sided ECG leads before nitrates | pain relief with small doses of morphine",
    ),
    Condition(
        "atrial fibrillation", (58, 84), "FM", "two days | five days | two weeks",
        "palpitations and breathlessness for {t} | an irregular heartbeat noticed {t} ago | tiredness and a "
        "fluttering chest for {t}",
        "{He} has long-standing hypertension | {He} drinks wine every evening | {He} has never had a stroke",
        "an irregularly irregular pulse of 128 per minute | no P waves on the ECG | a blood pressure of "
        "132/80 mmHg | a clear chest | a normal thyroid test",
        "rate control and anticoagulation according to stroke risk | an alcohol and sleep history | an "
        "echocardiogram | thyroid and electrolyte tests | discussion of rhythm control with cardiology",
    ),
    Condition(
        "decompensated heart failure", (64, 88), "FM", "four days | one week | two weeks",
        "breathlessness on lying flat for {t} | swollen ankles and weight gain over {t} | waking at night "
        "gasping for air for {t}",
        "{He} had a heart attack four years ago | {He} ran out of diuretics last month | {He} has poorly "
        "controlled hypertension",
        "crackles at both lung bases | a raised jugular venous pressure | pitting oedema to the knees | a "
        "third heart sound | an oxygen saturation of 90% on room air",
        "intravenous furosemide | oxygen to reach the target saturation | an echocardiogram and natriuretic "
        "peptide | daily weight and kidney function | a review of long-term heart failure drugs",
    ),
    Condition(
        "acute pericarditis", (19, 45), "FM", "one day | two days | three days",
        "sharp chest pain that eases on sitting forward for {t} | chest pain that is worse on breathing in "
        "for {t} | stabbing pain behind the breastbone for {t}",
        "{He} had a cold two weeks ago | {He} has no heart disease | {He} takes no medicines",
        "a pericardial friction rub | widespread ST elevation with PR depression | a temperature of 37.8 C "
        "| a normal blood pressure | a C-reactive protein of 48 mg/L",
        "an anti-inflammatory drug with colchicine | an echocardiogram to look for effusion | troponin and "
        "inflammatory markers | avoidance of sport until recovery | review within one week",
    ),
    Condition(
        "a pulmonary embolism", (28, 76), "FM", "six hours | one day | two days",
        "sudden breathlessness and chest pain for {t} | breathlessness and coughing of blood for {t} | pain "
        "on breathing in that began {t} ago",
        "{He} came home from a long flight last week | {He} had a knee replacement three weeks ago | {He} "
        "has cancer of the bowel",
        "a heart rate of 116 per minute | an oxygen saturation of 91% on room air | a swollen left calf | a "
        "clear chest | a respiratory rate of 26 per minute",
        "CT pulmonary angiography and early anticoagulation | admission with monitoring | oxygen as needed "
        "| an ECG and troponin to judge risk | a search for the cause",
    ),
    Condition(
        "a deep vein thrombosis of the leg", (32, 78), "FM", "two days | three days | five days",
        "a swollen and aching calf for {t} | pain in one leg on walking for {t} | a tight, heavy left leg "
        "for {t}",
        "{He} had a cast removed last week | {He} sat in a bus for fourteen hours | {He} had a clot ten "
        "years ago",
        "a calf three centimetres wider than the other | pitting oedema of one leg | tenderness along the "
        "deep veins | warm skin over the calf | normal pulses in the foot",
        "ultrasound of the leg veins and anticoagulation if it confirms a clot | a search for the cause | a "
        "Wells score and D-dimer where risk is low | advice on warning signs of lung embolism | early "
        "walking",
    ),
    Condition(
        "an acute asthma attack", (12, 45), "FM", "three hours | eight hours | one day",
        "wheeze and breathlessness for {t} | chest tightness and a dry cough for {t} | breathlessness after "
        "cleaning a dusty attic {t} ago",
        "{He} uses a salbutamol inhaler several times a week | {He} has hay fever | {He} stopped {his} "
        "steroid inhaler in spring",
        "a widespread expiratory wheeze | a peak flow of 55% of best | an oxygen saturation of 93% on room "
        "air | a respiratory rate of 26 per minute | speech in short phrases",
        "repeated inhaled salbutamol and oral prednisolone | a check of inhaler technique | oxygen to keep "
        "saturation above 94% | repeated peak flow measurement | a written plan with a daily inhaled "
        "steroid",
    ),
    Condition(
        "an exacerbation of chronic obstructive pulmonary disease", (58, 82), "FM",
        "two days | four days | six days",
        "worsening breathlessness and more sputum for {t} | a productive cough and wheeze for {t} | green "
        "sputum and breathlessness on dressing for {t}",
        "{He} has smoked for forty years | {He} uses two inhalers every day | {He} was in hospital for this "
        "last winter",
        "prolonged expiration with wheeze | an oxygen saturation of 87% on room air | use of the neck "
        "muscles to breathe | a barrel-shaped chest | a respiratory rate of 28 per minute",
        "inhaled bronchodilators and prednisolone for five days | pulmonary rehabilitation afterwards | "
        "controlled oxygen with a target of 88-92% | an antibiotic if sputum is purulent | a blood gas and "
        "a chest X-ray",
    ),
    Condition(
        "community-acquired pneumonia", (24, 82), "FM", "two days | three days | five days",
        "fever and a cough with rusty sputum for {t} | breathlessness, shivering, and cough for {t} | pain "
        "on breathing in and fever for {t}",
        "{He} had influenza two weeks ago | {He} smokes ten cigarettes a day | {He} has had no pneumonia "
        "vaccine",
        "crackles at the right lung base | a temperature of 39.1 C | an oxygen saturation of 92% on room "
        "air | a respiratory rate of 24 per minute | dullness to percussion on the right",
        "a chest X-ray | amoxicillin by local guidance | a severity score to choose home or hospital | "
        "fluids and paracetamol | review after 48 hours",
    ),
    Condition(
        "a spontaneous pneumothorax", (17, 34), "M", "two hours | five hours | one day",
        "sudden one-sided chest pain for {t} | breathlessness that began while reading {t} ago | sharp pain "
        "in the left chest for {t}",
        "{He} is tall, thin, and smokes | {He} has no lung disease | {His} brother had the same problem",
        "absent breath sounds on the left | hyperresonance to percussion on the left | a central trachea | "
        "an oxygen saturation of 95% on room air | a heart rate of 98 per minute",
        "an upright chest X-ray | needle aspiration or a small drain if it is large | oxygen and "
        "observation | advice against smoking | no flying until it has healed",
    ),
    Condition(
        "an acute ischaemic stroke", (58, 86), "FM", "forty minutes | one hour | two hours",
        "weakness of the right arm and slurred speech for {t} | a drooping face and inability to find words "
        "for {t} | sudden left-sided weakness that began {t} ago",
        "{He} has atrial fibrillation without anticoagulation | {He} has hypertension | {He} was well at "
        "breakfast",
        "a facial droop | weakness of one arm and leg | neglect of one side | a blood pressure of 168/94 "
        "mmHg | a normal blood glucose",
        "immediate CT of the head | thrombolysis if bleeding is excluded | CT angiography for thrombectomy "
        "| a swallow test before food or drink | admission to a stroke unit",
    ),
    Condition(
        "bacterial meningitis", (17, 45), "FM", "eight hours | twelve hours | one day",
        "severe headache and fever for {t} | headache, vomiting, and dislike of light for {t} | fever and "
        "confusion that began {t} ago",
        "{He} lives in a student hall | {He} had an ear infection last week | {He} had {his} spleen removed",
        "neck stiffness | a temperature of 39.4 C | a positive Kernig sign | a spreading purple rash | a "
        "heart rate of 122 per minute",
        "immediate intravenous ceftriaxone | blood cultures | lumbar puncture if safe | dexamethasone with "
        "the first antibiotic dose | protection of close contacts",
    ),
    Condition(
        "a subarachnoid haemorrhage", (38, 66), "FM", "one hour | three hours | six hours",
        "the worst headache of {his} life for {t} | a thunderclap headache during exercise {t} ago | a "
        "sudden headache with vomiting that began {t} ago",
        "{He} smokes and has hypertension | {His} mother had a brain aneurysm | {He} does not usually get "
        "headaches",
        "neck stiffness | sensitivity to light | drowsiness with normal limb strength | a blood pressure of "
        "172/98 mmHg | a drooping eyelid with a dilated pupil",
        "immediate CT of the head | CT angiography to find an aneurysm | urgent neurosurgical referral | "
        "nimodipine and blood pressure control | lumbar puncture if CT is normal",
    ),
    Condition(
        "migraine without aura", (18, 44), "F", "six hours | one day | two days",
        "a throbbing one-sided headache for {t} | headache and nausea that are worse on movement for {t} | "
        "a pulsating headache and dislike of light for {t}",
        "{He} has had similar attacks since school | {His} mother has the same headaches | {He} slept badly "
        "this week",
        "a normal neurological examination | normal optic discs | no neck stiffness | a blood pressure of "
        "118/74 mmHg | tenderness of the scalp",
        "an anti-inflammatory drug with an antiemetic | a triptan if simple drugs fail | rest in a dark "
        "room | a headache diary to find triggers | preventive treatment if attacks are frequent",
    ),
    Condition(
        "Bell's palsy", (25, 62), "FM", "one day | two days | three days",
        "a drooping face on one side since waking {t} ago | inability to close one eye for {t} | weakness "
        "of one side of the face and altered taste for {t}",
        "{He} had a cold last week | {He} is otherwise well | {He} noticed pain behind the ear first",
        "weakness of the forehead on the same side | incomplete eye closure | normal strength of the limbs "
        "| no rash in the ear | clear speech",
        "prednisolone within 72 hours | lubricating eye drops and an eye patch at night | reassurance about "
        "recovery | review within one week | referral if there is no recovery by three months",
    ),
    Condition(
        "anaphylaxis", (8, 50), "FM", "ten minutes | twenty minutes | thirty minutes",
        "hives and a tight throat for {t} after eating peanuts | wheeze and faintness after a wasp sting "
        "{t} ago | swelling of the lips and vomiting after a shrimp meal {t} ago",
        "{He} has asthma | {He} had a mild rash with the same trigger before | {He} carries no adrenaline "
        "pen",
        "a blood pressure of 82/46 mmHg | a heart rate of 132 per minute | a widespread urticarial rash | "
        "stridor at rest | an oxygen saturation of 92% on room air",
        "immediate intramuscular adrenaline | lying flat with raised legs | high-flow oxygen and "
        "intravenous fluids | observation for late reactions | an adrenaline pen and allergy referral",
    ),
)  # fmt: skip
